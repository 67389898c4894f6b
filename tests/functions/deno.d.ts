/** What of Deno there is in a test that calls a part of an edge function itself, and stubs it. */
declare const Deno: { env: { get(name: string): string | undefined } };
