# Python objects in Elixir, under a supervisor: elixir demos/erlang/shapes.exs
here = Path.dirname(__ENV__.file)

{sources, 0} =
  System.cmd(System.get_env("PYTHON", "python3"), ["-m", "rpyc_like.erlport", "--path"])

{:ok, :rpyc_like, binary} =
  sources |> String.trim() |> Path.join("rpyc_like.erl") |> String.to_charlist()
  |> :compile.file([:binary])

{:module, :rpyc_like} = :code.load_binary(:rpyc_like, ~c"rpyc_like.erl", binary)

options = [
  name: :shapes,
  python: String.to_charlist(System.get_env("PYTHON", "python3")),
  python_path: String.to_charlist(here),
  none: nil,
  text: :binary,
  binaries: :text
]

{:ok, _} = Supervisor.start_link([:rpyc_like.child_spec(options)], strategy: :one_for_one)

IO.puts(:rpyc_like.call(:shapes, :"os.path", :join, ["usr", "lib"]))
IO.puts(:rpyc_like.call(:shapes, :shapes, :upcase, ["łódź"]))

shape = :rpyc_like.hold(:shapes, :shapes, :Shape, [3, 4])
IO.inspect(:rpyc_like.method(:shapes, shape, :area, []))
IO.inspect(:rpyc_like.method(:shapes, shape, :area, [], %{scale: 10}))
IO.inspect(:rpyc_like.fold(:shapes, &[&1 | &2], [], shape))
IO.inspect(:rpyc_like.release(:shapes, shape))

try do
  :rpyc_like.call(:shapes, :builtins, :int, ["no number"])
rescue
  error in ErlangError ->
    {:python, type, text, _stack} = error.original
    IO.puts("#{type}: #{text}")
end
