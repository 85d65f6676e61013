%% What an Erlang program does with Python through rpyc_like.erl: one line for each check.
-module(checks).
-export([main/1, back/1, fail/1]).

main([Python, Path, Elsewhere | Names]) ->
    put(python, Python),
    put(path, Path),
    put(elsewhere, Elsewhere),
    [run(Name, Fun) || {Name, Fun} <- all(),
                       Names =:= [] orelse lists:member(atom_to_list(Name), Names)],
    halt(0).

run(Name, Fun) ->
    process_flag(trap_exit, true),
    try Fun() of
        ok -> io:format("~n#~s ok~n", [Name]);
        Other -> io:format("~n#~s FAILED ~0p~n", [Name, Other])
    catch
        Class:Reason:Stack -> io:format("~n#~s FAILED ~0p~n", [Name, {Class, Reason, Stack}])
    end,
    flush().

flush() -> receive _ -> flush() after 0 -> ok end.

python() -> python([]).
python(Options) ->
    {ok, P} = rpyc_like:start_link([{python, get(python)}, {python_path, get(path)} | Options]),
    P.

in(Fun) -> in([], Fun).
in(Options, Fun) ->
    P = python(Options),
    try Fun(P), ok after catch rpyc_like:stop(P) end.

call(P, F, A) -> rpyc_like:call(P, served, F, A).

failure(Fun) -> try Fun() of V -> {value, V} catch error:Reason -> Reason end.

%% Called from Python.
back({P, Depth}) -> rpyc_like:call(P, served, nested, [Depth, checks, back]);
back(Depth) -> rpyc_like:call(persistent_term:get(python), served, nested, [Depth, checks, back]).

fail(Reason) -> erlang:error(Reason).

all() -> [
    {values, fun() -> in(fun(P) ->
        X = 1,
        Terms = [1, -1, 1 bsl 100, 1.5, atom, 'Łódź', true, false, undefined, nil, <<>>, <<"b">>,
                 <<1:3>>, [], [1, 2], "Łódź", [a | b], {}, {1, {2}}, #{}, #{1 => a, 1.0 => b, true => c},
                 #{[1] => #{<<"k">> => v}}, self(), make_ref(), hd(erlang:ports()),
                 fun lists:map/2, fun() -> X end, [alias | make_ref()]],
        [T = call(P, echo, [T]) || T <- Terms],
        Terms = call(P, echo, [Terms])
    end) end},
    {kinds, fun() -> in(fun(P) ->
        ['Atom', bytes, 'List', 'Map', tuple, 'NoneType', bool, 'Pid', 'Reference'] =
            [call(P, kind, [T]) || T <- [a, <<"b">>, [], #{}, {}, undefined, true, self(), make_ref()]]
    end) end},
    {packets, fun() ->
        [in([{packet, N}, Io], fun(P) -> <<"x">> = call(P, echo, [<<"x">>]) end)
         || N <- [1, 2, 4], Io <- [use_stdio, nouse_stdio]], ok
    end},
    {large, fun() -> in([{compressed, 1}], fun(P) ->
        Big = binary:copy(<<"0123456789">>, 300000),
        [Big = call(P, echo, [Big]) || _ <- lists:seq(1, 5)],
        List = lists:seq(1, 100000),
        List = call(P, echo, [List])
    end) end},
    {too_long, fun() -> in([{packet, 1}], fun(P) ->
        {too_long, _, 255} = failure(fun() -> call(P, echo, [binary:copy(<<"x">>, 300)]) end),
        {python, 'rpyc_like.errors.LocalProtocolError', _, []} =
            failure(fun() -> rpyc_like:call(P, builtins, bytes, [300]) end),
        1 = call(P, echo, [1])
    end) end},
    {keywords, fun() -> in(fun(P) ->
        111 = call(P, add, [1]),
        6 = rpyc_like:call(P, served, add, [1], [{kwargs, #{two => 2, three => 3}}]),
        6 = rpyc_like:call(P, served, add, [1, 2], [{kwargs, [{three, 3}]}])
    end) end},
    {names, fun() -> in(fun(P) ->
        <<"a/b">> = rpyc_like:call(P, os, 'path.join', [<<"a">>, <<"b">>]),
        <<"a/b">> = rpyc_like:call(P, 'os.path', join, [<<"a">>, <<"b">>]),
        inner = call(P, 'Outer.Inner.function', []),
        {python, 'builtins.AttributeError', _, _} = failure(fun() -> call(P, missing, []) end),
        {python, 'builtins.ModuleNotFoundError', "No module named 'missing'", _} =
            failure(fun() -> rpyc_like:call(P, missing, f, []) end)
    end) end},
    {exceptions, fun() -> in(fun(P) ->
        {python, 'builtins.ValueError', "some text", [Where]} =
            failure(fun() -> call(P, fails, [<<"some text">>]) end) ,
        {match, _} = re:run(Where, "raise ValueError"),
        {python, 'builtins.KeyError', "'deep'", [_, _, _, _]} =
            failure(fun() -> call(P, fails_deep, [3]) end),
        {python, 'builtins.ValueError', _, _} = failure(fun() -> call(P, not_sendable, []) end),
        {python, 'builtins.TypeError', _, _} = failure(fun() -> call(P, fails, []) end),
        ok = call(P, echo, [ok])
    end) end},
    {dictionaries, fun() -> in(fun(P) ->
        #{a := 1, <<"b">> := [1, 2], 1 := #{2 := 3}} = call(P, dictionary, []),
        [int, float, bool] = [call(P, map_value, [#{1 => int, 1.0 => float, true => bool}, K])
                              || K <- [1, 1.0, true]]
    end) end},
    {timeouts, fun() -> in(fun(P) ->
        timeout = failure(fun() -> rpyc_like:call(P, served, sleep, [0.5], [{timeout, 50}]) end),
        ok = call(P, echo, [ok])
    end) end},
    {default_timeout, fun() -> in([{call_timeout, 1000}], fun(P) ->
        timeout = failure(fun() -> call(P, sleep, [1.3]) end),
        rpyc_like:cast(P, message),
        timer:sleep(1500),
        ok = call(P, echo, [ok])
    end) end},
    {one_after_the_other, fun() -> in(fun(P) ->
        true = call(P, thread_name, []),
        [slept, slept] = at_once(P, 2, 0.1)
    end) end},
    {several_at_once, fun() -> in([{threads, 8}], fun(P) ->
        Start = erlang:monotonic_time(millisecond),
        [slept, slept, slept, slept, slept, slept, slept, slept] = at_once(P, 8, 0.5),
        true = erlang:monotonic_time(millisecond) - Start < 2500
    end) end},
    {many_processes, fun() -> in(fun(P) ->
        Self = self(),
        [spawn_link(fun() -> Self ! {N, [call(P, echo, [{N, I}]) || I <- lists:seq(1, 50)]} end)
         || N <- lists:seq(1, 20)],
        [receive {N, Got} -> Got = [{N, I} || I <- lists:seq(1, 50)] end || N <- lists:seq(1, 20)]
    end) end},
    {a_caller_dies, fun() -> in(fun(P) ->
        Caller = spawn(fun() -> call(P, sleep, [0.3]) end),
        timer:sleep(50),
        exit(Caller, kill),
        ok = call(P, echo, [ok])
    end) end},
    {calls_from_threads, fun() -> in(fun(P) ->
        Expected = lists:seq(1, 10),
        Expected = call(P, threads, [10]),
        Expected = call(P, asynchronous, [10]),
        [3, 2, 1] = call(P, sugar, [])
    end) end},
    {python_times_out, fun() -> in(fun(P) ->
        timeout = call(P, too_slow, []),
        {true, false, cancelled} = call(P, cancelled, []),
        ok = call(P, echo, [ok])
    end) end},
    {call_errors, fun() -> in(fun(P) ->
        {erlang, error, badarith, true} = call(P, call_error, [erlang, '+', [a, 1]]),
        {erlang, throw, x, true} = call(P, call_error, [erlang, throw, [x]]),
        {erlang, exit, x, true} = call(P, call_error, [erlang, exit, [x]]),
        {erlang, exit, killed, true} = call(P, call_error, [checks_helper, suicide, []]),
        {erlang, error, undef, true} = call(P, call_error, [nowhere, f, []]),
        {erlang, error, {my, reason}, _} =
            failure(fun() -> call(P, passes_on, [checks, fail, [{my, reason}]]) end)
    end) end},
    {nested, fun() -> in(fun(P) ->
        persistent_term:put(python, P),
        20 = call(P, nested, [20, checks, back])
    end) end},
    {identity, fun() -> in(fun(P) ->
        {true, true} = call(P, identity, []),
        P = rpyc_like:call(P, 'erlport.erlang', self, [])
    end) end},
    {messages_to_erlang, fun() -> in(fun(P) ->
        register(checks_receiver, self()),
        undefined = call(P, send, [self(), {hello, 1}]),
        receive {hello, 1} -> ok after 5000 -> exit(timeout) end,
        undefined = call(P, send, [checks_receiver, by_name]),
        receive by_name -> ok after 5000 -> exit(timeout) end,
        undefined = call(P, send, [no_such_name, lost]),
        unregister(checks_receiver),
        {python, 'builtins.ValueError', _, _} = failure(fun() -> call(P, send, [1, x]) end)
    end) end},
    {messages_to_python, fun() -> in(fun(P) ->
        call(P, keep_messages, []),
        rpyc_like:cast(P, one),
        P ! {two, self()},
        Self = self(),
        [one, {two, Self}] = call(P, kept_messages, [])
    end) end},
    {a_bad_message_handler, fun() ->
        P = python(),
        call(P, bad_handler, []),
        rpyc_like:cast(P, x),
        receive {'EXIT', P, {message_handler_error, {python, 'builtins.RuntimeError', "no good", _}}} -> ok
        after 5000 -> exit(timeout) end
    end},
    {codecs, fun() -> in(fun(P) ->
        {encoded, undefined} = call(P, codecs, []) ,
        {encoded, 5} = call(P, echo, [{wrapped, 5}]),
        undefined = call(P, no_codecs, []),
        {wrapped, 5} = call(P, echo, [{wrapped, 5}])
    end) end},
    {types, fun() -> in(fun(P) ->
        [true, [1 | 2], true, #{1 := 2}, 5] = call(P, types, [])
    end) end},
    {prints, fun() -> in(fun(P) ->
        undefined = call(P, prints, []),
        quiet = call(P, noise, []),
        {python, 'io.UnsupportedOperation', _, _} = failure(fun() -> call(P, reads_stdin, []) end)
    end) end},
    {objects, fun() -> in(fun(P) ->
        C = rpyc_like:hold(P, served, 'Counter', [], #{start => 2}),
        {'$erlport.opaque', python, _} = C,
        "served.Counter" = rpyc_like:type(P, C),
        2 = rpyc_like:getattr(P, C, number),
        7 = rpyc_like:method(P, C, add, [5]),
        13 = rpyc_like:method(P, C, add, [2], #{times => 3}),
        undefined = rpyc_like:setattr(P, C, number, 4),
        "counter at 4" = rpyc_like:text(P, C),
        {k, 4} = rpyc_like:item(P, C, k),
        4 = rpyc_like:length(P, C),
        9 = rpyc_like:invoke(P, C, [5]),
        6 = rpyc_like:fold(P, fun(N, Sum) -> N + Sum end, 0, C),
        I = rpyc_like:iterate(P, C),
        [0, 1, 2] = rpyc_like:next(P, I, 3),
        [3] = rpyc_like:next(P, I, 3),
        [] = rpyc_like:next(P, I, 3),
        2 = rpyc_like:held(P),
        0 = rpyc_like:release(P, I),
        C = call(P, echo, [C]),
        1 = rpyc_like:release(P, C),
        0 = rpyc_like:release(P, C),
        0 = rpyc_like:held(P),
        {python, 'builtins.ValueError', "expected a handle of an object that is held, got one that was released", _} =
            failure(fun() -> rpyc_like:getattr(P, C, number) end)
    end) end},
    {objects_are_themselves, fun() -> in(fun(P) ->
        S = call(P, shared, []),
        S = call(P, shared, []),
        true = call(P, is_shared, [S]),
        [true, false] = [call(P, is_shared, [T]) || T <- [S, call(P, counter, [1])]],
        0 = rpyc_like:release(P, S, undefined)
    end) end},
    {objects_have_secrets, fun() -> in(fun(P) ->
        C = call(P, counter, [1]),
        [{python, 'rpyc_like.errors.AccessDenied', _, _} =
             failure(fun() -> rpyc_like:getattr(P, C, N) end)
         || N <- ['_secret', '__class__', 'number.__class__', "__init__"]]
    end) end},
    {no_pickles, fun() -> in(fun(P) ->
        %% A pickle of os.getcwd(): what erlport would load.
        Pickle = <<"cos\ngetcwd\n(tR.">>,
        {'$erlport.opaque', python, Pickle} = call(P, echo, [{'$erlport.opaque', python, Pickle}]),
        'OpaqueObject' = call(P, kind, [{'$erlport.opaque', python, Pickle}])
    end) end},
    {elixir, fun() -> in([{none, nil}, {text, binary}, {binaries, text}], fun(P) ->
        {<<"str">>, <<"text">>, nil, <<"Łódź"/utf8>>} = call(P, policies, [<<"Łódź"/utf8>>]),
        {<<"bytes">>, <<"text">>, nil, <<255>>} = call(P, policies, [<<255>>]),
        {<<"NoneType">>, <<"text">>, nil, nil} = call(P, policies, [nil]),
        {<<"Atom">>, <<"text">>, nil, undefined} = call(P, policies, [undefined])
    end) end},
    {python_dies, fun() ->
        P = python(),
        {port_closed, {code, 7}} = failure(fun() -> call(P, dies, [7]) end),
        receive {'EXIT', P, {port_closed, {code, 7}}} -> ok after 5000 -> exit(timeout) end,
        Q = python(),
        {port_closed, {code, 3}} = failure(fun() -> call(Q, exits, [3]) end),
        ok
    end},
    {no_python, fun() ->
        {error, {python_not_found, "no-such-python"}} = rpyc_like:start([{python, "no-such-python"}]),
        {error, {port_closed, {code, _}}} = rpyc_like:start([{python, "false"}]),
        {error, timeout} = rpyc_like:start([{python, get(elsewhere)}, {start_timeout, 300}]),
        ok
    end},
    {supervised, fun() ->
        {ok, S} = checks_helper:start_link(
            rpyc_like:child_spec([{name, my_python}, {python, get(python)}, {python_path, get(path)}])),
        1 = call(my_python, echo, [1]),
        Old = whereis(my_python),
        catch call(my_python, dies, [1]),
        ok = until(fun() -> New = whereis(my_python), is_pid(New) andalso New =/= Old end, 100),
        2 = call(my_python, echo, [2]),
        unlink(S), exit(S, shutdown), ok
    end},
    {stopping, fun() ->
        P = python(),
        Self = self(),
        spawn(fun() -> Self ! failure(fun() -> call(P, sleep, [0.5]) end) end),
        timer:sleep(100),
        rpyc_like:stop(P),
        receive stopped -> ok; Other -> Other after 5000 -> timeout end
    end}
].

at_once(P, Count, Seconds) ->
    Self = self(),
    [spawn_link(fun() -> Self ! {slept, catch call(P, sleep, [Seconds])} end) || _ <- lists:seq(1, Count)],
    [receive {slept, Value} -> Value after 10000 -> timeout end || _ <- lists:seq(1, Count)].

until(_, 0) -> timeout;
until(Fun, Count) ->
    case catch Fun() of true -> ok; _ -> timer:sleep(50), until(Fun, Count - 1) end.
