// @module-tag proof
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { recordProcess } from "local-platform/postgres/processes";
import { createDatabase, run } from "local-platform/testing/database";
import { takeData } from "local-platform/testing/kept-data";
import { startTestServer, temporaryFolder } from "local-platform/testing/server";
import type { TestServer } from "local-platform/testing/server";
import { project } from "./project.ts";

let keepIn: string;
const running: TestServer[] = [];

beforeEach(() => {
  keepIn = mkdtempSync(join(temporaryFolder(), "kept-"));
});
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
  rmSync(keepIn, { recursive: true });
});

/** Starts a server with one template of the test's own, and says how often that was made. */
async function start(madeOf: string, made: { times: number }): Promise<TestServer> {
  const server = await startTestServer({
    project: { ...project, name: "kit" },
    keepIn,
    templates: [
      {
        name: "template_books",
        from: "template_platform",
        madeOf,
        make: async (url) => {
          made.times++;
          await run(url, "create table public.books (title text); insert into public.books values ('Faust')");
        },
      },
    ],
  });
  running.push(server);
  return server;
}

async function titles(server: TestServer): Promise<string[]> {
  const db = await createDatabase(server.port, "template_books");
  try {
    const { rows } = await db.admin.query<{ title: string }>("select title from public.books");
    return rows.map(({ title }) => title);
  } finally {
    await db.drop();
  }
}

test("what was kept and is damaged is made anew", async () => {
  const made = { times: 0 };
  await (await start("one", made)).stop();
  const [name] = readdirSync(keepIn);
  rmSync(join(keepIn, name!, "global", "pg_control"));

  expect([await titles(await start("one", made)), made.times]).toEqual([["Faust"], 2]);
}, 60_000);

test("a template is made once, and again when what it is made of changes or a day has passed", async () => {
  const made = { times: 0 };
  const first = await start("one", made);
  expect([made.times, await titles(first)]).toEqual([1, ["Faust"]]);

  // The first still runs: what is kept is a copy.
  expect([await titles(await start("one", made)), made.times]).toEqual([["Faust"], 1]);

  expect([await titles(await start("another", made)), made.times]).toEqual([["Faust"], 2]);

  const dayBefore = new Date(Date.now() - 25 * 60 * 60 * 1000);
  for (const name of readdirSync(keepIn)) utimesSync(join(keepIn, name), dayBefore, dayBefore);
  expect([await titles(await start("another", made)), made.times]).toEqual([["Faust"], 3]);
  expect(readdirSync(keepIn)).toHaveLength(1);
}, 60_000);

test("of what was kept, no more than the newest three stay", () => {
  for (let age = 5; age >= 1; age--) {
    const path = join(keepIn, `data-${age}`);
    mkdirSync(path);
    utimesSync(path, Date.now() / 1000 - age, Date.now() / 1000 - age);
  }
  expect(takeData(keepIn, "none of them", join(keepIn, "nowhere"))).toBe(false);
  expect(readdirSync(keepIn)).toEqual(["data-1", "data-2", "data-3"]);
});

test("a template that can't be made fails the start, and nothing is kept or left", async () => {
  const name = `kit-${process.pid}`;
  const starting = startTestServer({
    project: { ...project, name },
    keepIn,
    templates: [
      {
        name: "template_broken",
        from: "template_platform_closed",
        madeOf: "",
        make: (url) => run(url, "select 1/0"),
      },
    ],
  });
  await expect(starting).rejects.toMatchObject({ code: "22012" });
  expect(readdirSync(keepIn)).toEqual([]);
  const left = [tmpdir(), "/dev/shm"].flatMap((parent) => (existsSync(parent) ? readdirSync(parent) : []));
  expect(left.filter((entry) => entry.startsWith(name))).toEqual([]);
});

test("the server of a run that was killed, and its data, are cleared away by the next", async () => {
  const name = "killed-kit";
  const script = `
    import { startTestServer } from "local-platform/testing/server";
    import { project } from "./project.ts";
    const { port } = await startTestServer({ project: { ...project, name: "${name}" } });
    console.log(port);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once("data", (text: Buffer) => resolve(Number(text.toString())));
    child.once("exit", (code) => reject(new Error(`the other process ended with ${code}`)));
  });
  const db = await createDatabase(port, "template_platform");
  const superuser = new pg.Client({ connectionString: db.url("supabase_admin") });
  superuser.on("error", () => {});
  await superuser.connect();
  const { rows } = await superuser.query<{ folder: string; pid: number }>(
    `select current_setting('data_directory') as folder,
            split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int as pid`,
  );
  const { folder, pid } = rows[0]!;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
  expect([recordProcess(pid), existsSync(folder)]).toEqual([expect.anything(), true]);

  const next = await startTestServer({ project: { ...project, name } });
  running.push(next);

  expect([recordProcess(pid), existsSync(dirname(folder))]).toEqual([undefined, false]);
  await Promise.allSettled([superuser.end(), db.admin.end(), db.api.end()]);
});
