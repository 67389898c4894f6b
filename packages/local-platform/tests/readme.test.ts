import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { freePort } from "local-platform/postgres/ports";
import { removeData } from "local-platform/postgres/server";
import { choosePlace } from "local-platform/project/place";
import { temporaryFolder } from "local-platform/testing/server";
import { project as elsewhere } from "./project.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** A project of two files. */
const FILES = {
  "supabase/config.toml": 'project_id = "shop"\n',
  "supabase/migrations/20260101000000_things.sql": `
    create table public.things (id int primary key);
    insert into public.things values (7);
    grant select on public.things to anon;`,
};

test("the README's example starts any folder with supabase/ in it, and ends it at Ctrl-C", async () => {
  const root = mkdtempSync(join(temporaryFolder(), "shop-"));
  // Run by root, Postgres is another user. It gets to this folder, and to the programs that lie there already.
  chmodSync(root, 0o755);
  vi.stubEnv("SHOP_POSTGRES", choosePlace(elsewhere).native.directory);
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const [apiPort, dbPort] = [await freePort(), await freePort()];
  const [, example] = /```ts\n([^]*?)```/.exec(readme)!;
  mkdirSync(elsewhere.root, { recursive: true });
  const script = join(elsewhere.root, `readme-${process.pid}.mts`);
  writeFileSync(script, example!.replace("54321", String(apiPort)).replace("54322", String(dbPort)));
  const child = spawn(process.execPath, ["--import", "tsx", script, root], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  try {
    const [line] = await Promise.race([
      once(child.stdout, "data"),
      ended.then(([code]) => Promise.reject(new Error(`the example ended with ${code}`))),
    ]);
    const [url, apikey] = String(line).trim().split(" ");
    const response = await fetch(`${url}/rest/v1/things`, { headers: { apikey: apikey! } });
    expect([response.status, await response.json()]).toEqual([200, [{ id: 7 }]]);

    child.kill("SIGINT");
    expect(await ended).toEqual([0, null]);
    const { dataDir } = choosePlace({ root, name: "shop" });
    expect(existsSync(join(dataDir, "postmaster.pid"))).toBe(false);
  } finally {
    child.kill("SIGKILL");
    await removeData(choosePlace({ root, name: "shop" }).dataDir);
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true, force: true });
    rmSync(script, { force: true });
  }
});
