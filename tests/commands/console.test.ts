// @module-tag proof
/** `tokenbook console`: the page, served for any project by a command. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { policyFor } from "../../packages/tokenbook/src/console/serve.ts";
import { buildConsole } from "../../scripts/build-console.ts";
import { projectRoot } from "../../scripts/project.ts";

const project = { url: "https://abcdefghijklmnopqrst.supabase.co", key: "sb_publishable_of_a_test" };
const replica = "https://replica.example.com";
const where = ["--url", project.url, "--key", project.key];
const started: ChildProcess[] = [];

beforeAll(async () => {
  const { NODE_ENV } = process.env;
  await buildConsole();
  process.env["NODE_ENV"] = NODE_ENV;
}, 300_000);
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

interface Run {
  child: ChildProcess;
  /** What it has printed so far. */
  printed: () => { output: string; errors: string };
  /** Its status, once it has ended. */
  ended: Promise<number | null>;
  /** Where it serves; when it has ended before, what it printed is the error. */
  address: Promise<string>;
}

function run(args: string[], env: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "packages/tokenbook/src/cli.ts", "console", ...args],
    {
      cwd: projectRoot,
      env: { ...process.env, SUPABASE_URL: "", SUPABASE_PUBLISHABLE_KEY: "", SUPABASE_READS_URL: "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  started.push(child);
  let [output, errors] = ["", ""];
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  const ended = new Promise<number | null>((done) => child.once("close", done));
  const address = new Promise<string>((done, failed) => {
    child.stdout.on("data", (text: Buffer) => {
      output += text.toString();
      const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(output) ?? [];
      if (url !== undefined) done(url);
    });
    void ended.then(() => failed(new Error(output + errors)));
  });
  address.catch(() => {});
  return { child, printed: () => ({ output, errors }), ended, address };
}

/** What it says when it does not serve. */
async function refusal(args: string[], env?: NodeJS.ProcessEnv) {
  const it = run(args, env);
  const status = await it.ended;
  return { status, ...it.printed() };
}

test("its address is the first thing it prints, and the page is there", async () => {
  const it = run([...where, "--port", "0"]);
  const url = await it.address;
  expect(it.printed().output).toBe(`${url}   (Ctrl-C ends it)\n`);
  // any path is a page's: the page itself finds which
  for (const path of ["/", "/admin/users/b0b", "/admin/users/a.b", "/admin/users/a%2Eb"]) {
    const page = await fetch(url + path);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html;charset=utf-8"]);
    expect(await page.text()).toContain('<div id="root">');
    expect(page.headers.get("content-security-policy")).toContain(
      `connect-src 'self' ${project.url} wss://abcdefghijklmnopqrst.supabase.co;`,
    );
  }
});

test("a file that there is not is not there, and nothing keeps that for a year", async () => {
  const it = run([...where, "--port", "0"]);
  const page = await (await fetch(await it.address)).text();
  const [name] = /\/assets\/[^"]+\.js/.exec(page)!;
  for (const [path, status, kept] of [
    [name, 200, "public, max-age=31536000, immutable"],
    ["/assets/nothing", 404, "no-store"],
    ["/assets/index-of-another-version.js", 404, "no-store"],
    ["/assets/../index.html", 200, "no-cache"],
  ] as const) {
    const answer = await fetch((await it.address) + path);
    expect([path, answer.status, answer.headers.get("cache-control")]).toEqual([path, status, kept]);
  }
});

test("the guide gives who deploys it the same policy", async () => {
  const guide = readFileSync(join(projectRoot, "docs/guides/console.md"), "utf8");
  expect(guide).toContain(`\`${policyFor("<url>", "<the same with wss:>", "<reads>")}\``);
  const it = run([...where, "--port", "0"]);
  const { headers } = await fetch(await it.address);
  expect(headers.get("content-security-policy")).toBe(
    policyFor(project.url, "wss://abcdefghijklmnopqrst.supabase.co"),
  );
});

test("/config.json says which project, is never kept, and has nothing else", async () => {
  const it = run(["--port", "0"], {
    SUPABASE_URL: project.url,
    SUPABASE_PUBLISHABLE_KEY: project.key,
    SUPABASE_SECRET_KEY: "sb_secret_that_nobody_sees",
  });
  const answer = await fetch(`${await it.address}/config.json`);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(await answer.json()).toEqual(project);
});

test.each([
  ["--reads", ["--reads", `${replica}/`], {}],
  ["SUPABASE_READS_URL", [], { SUPABASE_READS_URL: `${replica}/` }],
])("a read replica by %s is in /config.json, and the page may ask it", async (_, args, env) => {
  const it = run([...where, ...args, "--port", "0"], env);
  const answer = await fetch(`${await it.address}/config.json`);
  expect(await answer.json()).toEqual({ ...project, reads: `${replica}/` });
  const { headers } = await fetch(await it.address);
  expect(headers.get("content-security-policy")).toBe(
    policyFor(project.url, "wss://abcdefghijklmnopqrst.supabase.co", replica),
  );
});

test("--json says the address to a machine", async () => {
  const it = run([...where, "--port", "0", "--json"]);
  const url = await it.address;
  expect(JSON.parse(it.printed().output)).toEqual({ url });
});

test.each(["SIGINT", "SIGTERM"] as const)("%s ends it cleanly, with a page open", async (signal) => {
  const it = run([...where, "--port", "0"]);
  const url = await it.address;
  // a browser keeps its connections
  await (await fetch(url, { headers: { connection: "keep-alive" } })).text();
  const since = Date.now();
  it.child.kill(signal);
  expect(await it.ended).toBe(0);
  expect(Date.now() - since).toBeLessThan(3_000);
  expect(it.printed().errors).toBe("");
  await expect(fetch(url)).rejects.toThrow();
});

describe("it refuses, and says what to do,", () => {
  const role = (name: string) =>
    ["{}", JSON.stringify({ role: name }), "x"].map((it) => Buffer.from(it).toString("base64url")).join(".");

  test.each([
    ["a secret key", "sb_secret_of_a_test"],
    ["service_role's key of before", role("service_role")],
  ])("%s", async (_, key) => {
    for (const [args, env] of [
      [["--url", project.url, "--key", key], {}],
      [[], { SUPABASE_URL: project.url, SUPABASE_PUBLISHABLE_KEY: key }],
    ] as const) {
      const { status, output, errors } = await refusal([...args, "--port", "0"], env);
      expect([status, output]).toEqual([2, ""]);
      expect(errors).toContain("That is a secret key, and every browser would be given it.");
      // not even in the refusal
      expect(errors).not.toContain(key);
    }
  });

  test("and not the anon key of before, which is public", async () => {
    const it = run(["--url", project.url, "--key", role("anon"), "--port", "0"]);
    expect(await it.address).toMatch(/^http/);
  });

  test("no project", async () => {
    const { status, errors } = await refusal([]);
    expect(status).toBe(2);
    expect(errors.trim()).toBe("Which project? --url <address of its API> --key <its publishable key>");
  });

  test.each([
    ["url", ["--url", "abcdefghijklmnopqrst", "--key", project.key], {}],
    ["reads", [...where, "--reads", "abcdefghijklmnopqrst"], {}],
    ["reads", where, { SUPABASE_READS_URL: "postgres://abcdefghijklmnopqrst.supabase.co" }],
  ])("an address that is none: --%s", async (name, args, env) => {
    const { status, errors } = await refusal(args, env);
    expect(status).toBe(2);
    expect(errors).toContain(`--${name} is an address, as https://`);
  });

  test("a port that somebody has", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    try {
      const { port } = other.address() as AddressInfo;
      const { status, output, errors } = await refusal([...where, "--port", String(port)]);
      expect([status, output]).toEqual([2, ""]);
      expect(errors.trim()).toBe(
        `Port ${port} cannot be had; choose another: --port 0 takes any that is free.`,
      );
    } finally {
      other.close();
    }
  });
});

test("--files says where they are, for a static host, and ends", async () => {
  const it = run(["--files"]);
  expect(await it.ended).toBe(0);
  expect(it.printed().output.trim()).toMatch(/console\/dist\/?$/);
});
