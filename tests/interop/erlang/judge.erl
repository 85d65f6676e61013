%% Judges terms: files hold frames of a length (32 bits) and that many bytes.
-module(judge).
-export([main/1]).

main([Command | Files]) ->
    run(Command, Files),
    halt(0).

%% Prints how many pairs there are, and the numbers of those that are not the same term.
run("same", [In]) ->
    Pairs = pairs(frames(In)),
    Different = [N || {N, {A, B}} <- lists:zip(lists:seq(0, length(Pairs) - 1), Pairs),
                      not same(A, B)],
    io:format("~p ~w~n", [length(Pairs), Different]);
%% Writes each term again, as this release does.
run("rewrite", [In, Out]) ->
    file:write_file(Out, [frame(term_to_binary(binary_to_term(Bin))) || Bin <- frames(In)]);
%% Writes terms that this VM alone has, and judges them when they have come back.
run("own", [Out]) ->
    file:write_file(Out, [frame(Bin) || Bin <- own()]);
%% Writes terms in the format that only this VM reads.
run("local", [Out]) ->
    Terms = [1, [], a, {}, <<>>, self(), make_ref(), [1, 2]],
    file:write_file(Out, [frame(term_to_binary(T, [local])) || T <- Terms]);
%% Prints ok or badarg for each.
run("verdicts", [In]) ->
    [io:format("~s~n", [verdict(Bin)]) || Bin <- frames(In)].

same(A, B) ->
    try binary_to_term(A) =:= binary_to_term(B) catch _:_ -> false end.

verdict(Bin) ->
    try binary_to_term(Bin) of _ -> ok catch error:badarg -> badarg end.

own() ->
    X = 5,
    Terms = [self(), make_ref(), hd(erlang:ports()), fun() -> X end, fun lists:map/2,
             [alias | make_ref()], erlang:monitor(process, self(), [{alias, explicit_unalias}]),
             #{self() => make_ref(), 1 => a, 1.0 => b, true => c}],
    [term_to_binary(T, O) || T <- Terms,
        O <- [[], [{minor_version, 0}], [{minor_version, 1}], [{minor_version, 2}], [compressed]]].

frames(File) ->
    {ok, Bin} = file:read_file(File),
    [Frame || <<Size:32, Frame:Size/binary>> <= Bin].

frame(Bin) ->
    [<<(byte_size(Bin)):32>>, Bin].

pairs([A, B | Rest]) -> [{A, B} | pairs(Rest)];
pairs([]) -> [].
