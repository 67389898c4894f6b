// @module-tag proof
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { prefetchFunctions } from "local-platform/functions/serve";
import { isRunning, recordProcess } from "local-platform/postgres/processes";
import type { ProcessRecord } from "local-platform/postgres/processes";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

const fixture = (name: string) => ({
  root: fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)),
  name: "fixture",
});

interface Description {
  method: string;
  path: string;
  body: string;
  idempotencyKey: string | null;
  environment: string[];
  slug: string;
  url: string;
  pid: number;
}

let denoDir: string;
let it: ApiUnderTest;
const lines: string[] = [];

beforeAll(async () => {
  denoDir = await mkdtemp(join(tmpdir(), "deno-"));
  // What a developer's shell holds and no hosted function would see.
  process.env["A_SECRET_OF_THE_SHELL"] = "leaked";
  it = await startApiUnderTest("", {
    functions: { project: fixture("functions"), denoDir, log: (line) => lines.push(line) },
  });
});
afterAll(async () => {
  delete process.env["A_SECRET_OF_THE_SHELL"];
  await it?.close();
  await rm(denoDir, { recursive: true, force: true });
});

async function describeFunction(name: string, path = ""): Promise<Description> {
  const response = await it.fetch(`/functions/v1/${name}${path}`, {
    method: "POST",
    body: "hello",
    headers: { "idempotency-key": "k-1" },
  });
  expect(response.status).toBe(200);
  return (await response.json()) as Description;
}

test("both forms of index.ts run unchanged and see the request as on a hosted project", async () => {
  for (const name of ["serves", "exports"]) {
    expect(await describeFunction(name, "/deep/er?a=1&b=%20")).toMatchObject({
      method: "POST",
      path: `/${name}/deep/er?a=1&b=%20`,
      body: "hello",
      idempotencyKey: "k-1",
      slug: name,
      url: it.api.url,
    });
  }
});

test("each function has a process of its own, which serves request after request", async () => {
  const [first, second, other] = [
    await describeFunction("serves"),
    await describeFunction("serves"),
    await describeFunction("exports"),
  ];
  expect(second.pid).toBe(first.pid);
  expect(other.pid).not.toBe(first.pid);
  expect(first.pid).not.toBe(process.pid);
});

test("a function's environment holds what a hosted one's does and nothing of the shell", async () => {
  const { environment } = await describeFunction("exports");
  expect(environment).toEqual([
    "SUPABASE_ANON_KEY",
    "SUPABASE_DB_URL",
    "SUPABASE_FUNCTION_SLUG",
    "SUPABASE_JWKS",
    "SUPABASE_PUBLISHABLE_KEYS",
    "SUPABASE_SECRET_KEYS",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_URL",
  ]);
});

test("bodies stream through in both directions", async () => {
  const large = "0123456789".repeat(300_000);
  const response = await it.fetch("/functions/v1/serves", { method: "PUT", body: large });
  expect((await response.text()) === large).toBe(true);
});

test("supabase-js invokes a function", async () => {
  const { data, error } = await it.client().functions.invoke<Description>("exports", { body: { a: 1 } });
  expect(error).toBeNull();
  expect(JSON.parse(data!.body)).toEqual({ a: 1 });
});

describe("verify_jwt, on unless config.toml turns it off,", () => {
  const ask = (authorization?: string, method = "POST") =>
    it.fetch("/functions/v1/guarded", {
      method,
      headers: authorization === undefined ? {} : { authorization },
    });

  test("lets a good token through", async () => {
    const token = await it.token({ sub: "8a8b0f0e-0000-4000-8000-000000000001", role: "authenticated" });
    expect((await ask(`Bearer ${token}`)).status).toBe(200);
  });

  test("refuses no token, an expired one, a forged one and an API key", async () => {
    const expired = await it.token({ role: "authenticated", exp: 1 });
    const good = await it.token({ role: "authenticated" });
    const forged = `${good.slice(0, good.lastIndexOf("."))}.${"A".repeat(86)}`;
    expect((await ask()).status).toBe(401);
    for (const credential of [expired, forged, it.keys.publishableKey, it.keys.secretKey]) {
      const response = await ask(`Bearer ${credential}`);
      expect([response.status, await response.json()]).toEqual([401, { msg: "Invalid JWT" }]);
    }
  });

  test("lets a browser's preflight through", async () => {
    expect((await ask(undefined, "OPTIONS")).status).toBe(200);
  });
});

test("an unknown function, shared code and a path that climbs are 404", async () => {
  for (const name of ["nope", "_shared", "..%2f..%2fsecrets", "constructor"]) {
    const response = await it.fetch(`/functions/v1/${name}`);
    expect([name, response.status]).toEqual([name, 404]);
  }
});

test("a function that fails to boot answers 503 BOOT_ERROR, its words go to the log only", async () => {
  for (let attempt = 1; attempt <= 2; attempt++) {
    const response = await it.fetch("/functions/v1/breaks-at-boot");
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      code: "BOOT_ERROR",
      message: "Worker failed to boot (please check logs)",
    });
  }
  expect(lines.join("\n")).toContain("[breaks-at-boot] error: Uncaught");
  expect(lines.join("\n")).toContain("the secret of the boot");
});

test("a crash is answered with 500 and the next request starts the function again", async () => {
  expect(await (await it.fetch("/functions/v1/crashes")).text()).toBe("alive");
  for (let nth = 0; nth < 5; nth++) {
    const crashed = await it.fetch("/functions/v1/crashes?now");
    expect(crashed.status).toBe(500);
    expect(await crashed.json()).toMatchObject({ code: "WORKER_ERROR" });
    // At once: what has crashed is not asked again.
    expect(await (await it.fetch("/functions/v1/crashes")).text()).toBe("alive");
  }
});

test("a caller who is gone before the function is there is the trouble of nobody else", async () => {
  await it.fetch("/functions/v1/crashes?now");
  // they leave while the process starts that would have answered them
  const left = [1, 5, 10].map((ms) =>
    it.fetch("/functions/v1/crashes", { signal: AbortSignal.timeout(ms) }).catch(({ name }: Error) => name),
  );
  expect(await Promise.all(left)).toContain("TimeoutError");
  expect(await (await it.fetch("/functions/v1/crashes")).text()).toBe("alive");
});

test("nothing of the project's package.json can be imported", async () => {
  await expect(prefetchFunctions(fixture("leak"), denoDir)).rejects.toThrow(/leaky imports can't be fetched/);
  const leaking = await startApiUnderTest("", { functions: { project: fixture("leak"), denoDir } });
  try {
    expect((await leaking.fetch("/functions/v1/leaky")).status).toBe(503);
  } finally {
    await leaking.close();
  }
});

test("prefetching names the functions and leaves shared code out", async () => {
  expect(await prefetchFunctions(fixture("functions"), denoDir)).toEqual(
    expect.arrayContaining(["serves", "exports", "guarded", "crashes"]),
  );
});

test("closing the API ends every Deno process", async () => {
  const own = await startApiUnderTest("", { functions: { project: fixture("functions"), denoDir } });
  const workers: ProcessRecord[] = [];
  for (const name of ["serves", "exports"]) {
    const response = await own.fetch(`/functions/v1/${name}`);
    workers.push(recordProcess(((await response.json()) as Description).pid)!);
  }
  expect(workers.map(isRunning)).toEqual([true, true]);
  await own.close();
  expect(workers.map(isRunning)).toEqual([false, false]);
});

test("a host that is killed outright leaves no Deno process behind", async () => {
  const host = spawn(
    process.execPath,
    ["--import", "tsx", fixture("host-of-a-function.ts").root, fixture("functions").root, "exports", denoDir],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = (await once(createInterface({ input: host.stdout }), "line")) as [string];
  const pid = Number(line);
  const worker = recordProcess(pid)!;
  expect(isRunning(worker)).toBe(true);
  host.kill("SIGKILL");
  await expect.poll(() => isRunning(worker), { timeout: 5000 }).toBe(false);
});
