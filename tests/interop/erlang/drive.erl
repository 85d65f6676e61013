%% Runs a program as a port, as a file says, and writes down what it sent.
%%
%% The file: {Program, Arguments, Options, Steps}. Steps: {send, Term}, {raw, Binary},
%% {wait, N} (for so many messages of the port), exit (for its end), close, {sleep, Ms}.
-module(drive).
-export([main/1]).

main([In, Out]) ->
    {ok, Bin} = file:read_file(In),
    {Program, Arguments, Options, Steps} = binary_to_term(Bin),
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, binary, exit_status | Options]),
    Got = lists:flatmap(fun(Step) -> step(Port, Step) end, Steps),
    ok = file:write_file(Out, term_to_binary(Got, [{minor_version, 1}])),
    halt(0).

step(Port, {send, Term}) ->
    true = port_command(Port, term_to_binary(Term)), [];
step(Port, {raw, Bin}) ->
    true = port_command(Port, Bin), [];
step(Port, {wait, Count}) ->
    [receive_one(Port) || _ <- lists:seq(1, Count)];
step(Port, exit) ->
    wait_for_exit(Port);
step(Port, close) ->
    port_close(Port), [];
step(_, {sleep, Time}) ->
    timer:sleep(Time), [].

receive_one(Port) ->
    receive
        {Port, {data, Bin}} -> {data, Bin};
        {Port, {exit_status, Status}} -> {exit_status, Status}
    after 20000 -> timeout
    end.

wait_for_exit(Port) ->
    case receive_one(Port) of
        {data, Bin} -> [{data, Bin} | wait_for_exit(Port)];
        Other -> [Other]
    end.
