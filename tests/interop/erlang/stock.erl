%% Erlang's side of the wire of erlport 0.11, written from its description: how it starts Python, what
%% it wraps, and what it makes of the answers. Each check prints a line.
-module(stock).
-export([main/1]).

main([Python, Path]) ->
    %% It asks for the version first.
    "Python 3." ++ _ = os:cmd(Python ++ " -m rpyc_like.erlport -V"),
    say(version),
    Command = Python ++ " -m rpyc_like.erlport -u -m erlport.cli --packet=4 --use_stdio"
        " --compressed=0 --buffer_size=65536",
    Port = open_port({spawn, Command}, [{packet, 4}, binary, hide, exit_status,
                                        {env, [{"PYTHONPATH", Path ++ ":" ++ os:getenv("PYTHONPATH")}]}]),
    X = 1,
    {ok, 2.0} = call(Port, math, sqrt, [4.0]), say(call),
    Terms = [self(), make_ref(), Port, fun() -> X end, <<5:3>>, {nested, [self()]}, #{k => self()}],
    [{ok, T} = call(Port, served, echo, [T]) || T <- Terms], say(opaque),
    {ok, 'OpaqueObject'} = call(Port, served, kind, [self()]), say(opaque_object),
    {error, {python, 'builtins.ValueError', "text", [Line | _]}} = call(Port, served, fails, [<<"text">>]),
    true = is_list(Line), say(exception),
    {ok, undefined} = call(Port, served, keep_messages, []),
    port_command(Port, term({'M', wrap(hello)})),
    port_command(Port, term({'M', wrap({from, self()})})),
    {ok, [hello, {from, Self}]} = call(Port, served, kept_messages, []),
    Self = self(), say(messages),
    {ok, [1, 2, 3]} = call(Port, served, threads, [3]), say(calls),
    {ok, undefined} = call(Port, served, send, [self(), {a, message}]),
    receive {a, message} -> say(cast) after 5000 -> exit(timeout) end,
    {ok, undefined} = call(Port, served, prints, []),
    "printed by Python\n" ++ _ = lists:append(lists:reverse(get(printed))), say(stdout),
    {ok, {erlang, error, badarith, true}} = call(Port, served, call_error, [erlang, '+', [a, 1]]),
    say(call_error),
    {error, {erlang, error, badarith, _}} = call(Port, served, passes_on, [erlang, '+', [a, 1]]),
    say(passes_on),
    {ok, timeout} = call(Port, served, too_slow, []), say(no_cancelling),
    {ok, {'$erlport.opaque', python, _} = Object} = call(Port, served, shared, []),
    {ok, true} = call(Port, served, is_shared, [Object]), say(python_objects),
    port_close(Port),
    halt(0).

say(Name) -> io:format("~s~n", [Name]).

term(Message) -> term_to_binary(Message, [{minor_version, 1}]).

call(Port, M, F, Args) ->
    port_command(Port, term({'C', 1, M, F, [wrap(A) || A <- Args]})),
    answer(Port).

answer(Port) ->
    receive
        {Port, {data, Bin}} -> message(Port, binary_to_term(Bin));
        {Port, {exit_status, Status}} -> exit({port_closed, Status})
    after 10000 -> exit(timeout)
    end.

message(_, {r, 1, Value}) -> {ok, unwrap(Value)};
message(_, {e, 1, Error}) -> {error, unwrap(Error)};
message(Port, {'C', Id, M, F, Args, 'L'}) ->
    port_command(Port, term({r, Id, wrap(apply(M, F, unwrap(Args)))})), answer(Port);
message(Port, {'C', Id, M, F, Args, 'N'}) ->
    spawn(fun() ->
        Answer = try {r, Id, wrap(apply(M, F, unwrap(Args)))}
                 catch Class:Reason -> {e, Id, {erlang, Class, Reason, []}} end,
        port_command(Port, term(Answer))
    end), answer(Port);
message(Port, {'M', To, Message}) -> unwrap(To) ! unwrap(Message), answer(Port);
message(Port, {'P', Text}) ->
    put(printed, [Text | case get(printed) of undefined -> []; Known -> Known end]), answer(Port);
message(_, Other) -> exit({invalid_protocol_message, Other}).

wrap(T) when is_atom(T); is_number(T); is_binary(T) -> T;
wrap([H | T]) -> [wrap(H) | wrap(T)];
wrap([]) -> [];
wrap(T) when is_tuple(T) -> list_to_tuple(wrap(tuple_to_list(T)));
wrap(T) when is_map(T) -> maps:from_list([{wrap(K), wrap(V)} || {K, V} <- maps:to_list(T)]);
wrap(T) ->
    <<131, Bin/binary>> = term(T),
    {'$erlport.opaque', erlang, Bin}.

unwrap({'$erlport.opaque', erlang, Bin}) -> binary_to_term(<<131, Bin/binary>>);
unwrap([H | T]) -> [unwrap(H) | unwrap(T)];
unwrap(T) when is_tuple(T) -> list_to_tuple(unwrap(tuple_to_list(T)));
unwrap(T) -> T.
