%% Calls a server of Python's over a socket: with rpyc_like.erl, and with gen_tcp alone.
-module(sockets).
-export([main/1]).

main(["port", Where]) ->
    {ok, Socket} = gen_tcp:connect("127.0.0.1", list_to_integer(Where),
                                   [binary, {packet, 4}, {active, false}]),
    [ok = gen_tcp:send(Socket, term_to_binary({echo, N})) || N <- lists:seq(1, 100)],
    [begin {ok, Bin} = gen_tcp:recv(Socket, 0, 5000), N = binary_to_term(Bin) end
     || N <- lists:seq(1, 100)],
    ok = gen_tcp:send(Socket, <<"junk">>),
    {ok, Error} = gen_tcp:recv(Socket, 0, 5000),
    {error, badarg} = binary_to_term(Error),
    io:format("ok~n"),
    halt(0);
main([Kind, Where | Rest]) ->
    {ok, P} = rpyc_like:start(options(Kind, Where, Rest)),
    3.0 = rpyc_like:call(P, math, sqrt, [9.0]),
    Denied = fun(M, F) ->
        try rpyc_like:call(P, M, F, [<<"true">>]) of V -> {value, V}
        catch error:{python, 'rpyc_like.errors.AccessDenied', _, _} -> denied end
    end,
    denied = Denied(os, system),
    denied = Denied(tools, '_secret'),
    denied = Denied(tools, '__class__.mro'),
    [1, 2, 3] = rpyc_like:call(P, tools, back, [lists, sort, [[3, 1, 2]]]),
    C = rpyc_like:hold(P, tools, counter, []),
    1 = rpyc_like:method(P, C, add, []),
    1 = rpyc_like:held(P),
    Self = self(),
    [spawn_link(fun() -> 2.0 = rpyc_like:call(P, math, sqrt, [4.0]), Self ! done end)
     || _ <- lists:seq(1, 20)],
    [receive done -> ok after 5000 -> exit(timeout) end || _ <- lists:seq(1, 20)],
    rpyc_like:stop(P),
    plain(Kind, Where),
    io:format("ok~n"),
    halt(0).

options("tcp", Port, _) -> [{address, {"127.0.0.1", list_to_integer(Port)}}];
options("unix", Path, _) -> [{socket, Path}];
options("tls", Port, [Ca, Cert, Key]) ->
    [{address, {"localhost", list_to_integer(Port)}},
     {tls, [{verify, verify_peer}, {cacertfile, Ca}, {certfile, Cert}, {keyfile, Key}]}].

plain("tcp", Port) ->
    {ok, Socket} = gen_tcp:connect("127.0.0.1", list_to_integer(Port),
                                   [binary, {packet, 4}, {active, false}]),
    ok = gen_tcp:send(Socket, term_to_binary({'C', 7, math, floor, [2.5]})),
    {ok, Bin} = gen_tcp:recv(Socket, 0, 5000),
    {r, 7, 2} = binary_to_term(Bin);
plain(_, _) -> ok.
