%% Measures calls between Erlang and Python through rpyc_like.erl.
-module(calls).
-export([main/1]).

%% Prints calls in a second: of Python one at a time, from 30 processes, and of Erlang.
main([Python, Folder, Calls]) ->
    {ok, P} = rpyc_like:start([{python, Python}, {python_path, Folder}]),
    Count = list_to_integer(Calls),
    repeat(P, 200),
    Sequential = rate(Count, fun() -> repeat(P, Count) end),
    Self = self(),
    Many = rate(Count, fun() ->
        [spawn_link(fun() -> repeat(P, Count div 30), Self ! done end) || _ <- lists:seq(1, 30)],
        [receive done -> ok end || _ <- lists:seq(1, 30)]
    end),
    Time = rpyc_like:call(P, asking, ask, [Count]),
    io:format("~p ~p ~p~n", [Sequential, Many, round(Count / Time)]),
    halt(0).

repeat(_, 0) -> ok;
repeat(P, Count) ->
    1 = rpyc_like:call(P, builtins, abs, [1]),
    repeat(P, Count - 1).

rate(Count, Fun) ->
    Start = erlang:monotonic_time(microsecond),
    Fun(),
    round(Count * 1000000 / (erlang:monotonic_time(microsecond) - Start)).
