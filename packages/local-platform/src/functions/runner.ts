/*
 * Runs one edge function in Deno, its index.ts unchanged, in both forms that there are:
 * `Deno.serve(handler)` and `export default { fetch }`. Started by function-worker.ts with the entry's
 * URL, the password that marks the line with the port, and the names of the function's environment.
 */
const [entry, password, ...environment] = Deno.args as [string, string, ...string[]];

// Deno's own settings, and what Deno adds (PATH): a function sees only what a hosted one would.
for (const name of Object.keys(Deno.env.toObject())) {
  if (!environment.includes(name)) Deno.env.delete(name);
}

// The input ends with the process that started this one.
(async () => {
  for await (const _ of Deno.stdin.readable);
  Deno.exit(0);
})();

type Handler = Deno.ServeHandler;
type Options = Deno.ServeTcpOptions & { handler?: Handler };

const serve = Deno.serve;
let listening = false;

function listen(options: Options, handler: Handler): Deno.HttpServer {
  if (listening) throw new Error("an edge function serves once");
  listening = true;
  const onListen = ({ port }: { port: number }) => console.log(`${password}${port}`);
  // Port and address are the platform's to choose, as they are on a hosted project.
  return serve({ ...options, hostname: "127.0.0.1", port: 0, onListen }, handler);
}

Deno.serve = ((first: Options | Handler, second?: Handler) => {
  if (typeof first === "function") return listen({}, first);
  const handler = second ?? first.handler;
  if (handler === undefined) throw new TypeError("Deno.serve needs a handler");
  return listen(first, handler);
}) as typeof Deno.serve;

const module = await import(entry);
if (!listening && typeof module.default?.fetch === "function") {
  listen({}, (request, info) => module.default.fetch(request, info));
}
if (!listening) {
  console.error("index.ts neither calls Deno.serve nor exports { fetch } as its default");
  Deno.exit(1);
}
