import { mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { writeEnvFile } from "local-platform/project/env-file";
import { readSettings } from "local-platform/project/settings";
import { createSteps } from "local-platform/terminal/steps";

const folders: string[] = [];
const folder = () => {
  const path = mkdtempSync(join(tmpdir(), "tokenbook-unit-"));
  folders.push(path);
  return path;
};
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true });
});

test("writing .env.local keeps other lines, replaces ours, and closes the file to others", () => {
  const path = join(folder(), ".env.local");
  writeFileSync(path, "# mine\nOTHER=1\nSUPABASE_URL=old\nexport SUPABASE_KEY=old\n\n", { mode: 0o644 });

  writeEnvFile(path, { SUPABASE_URL: "new", SUPABASE_KEY: "key" });
  writeEnvFile(path, { SUPABASE_URL: "newer", SUPABASE_KEY: "key" });

  expect(readFileSync(path, "utf8")).toBe("# mine\nOTHER=1\nSUPABASE_URL=newer\nSUPABASE_KEY=key\n");
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("ports and max_rows come from config.toml, ports from the environment for a second checkout", () => {
  const root = folder();
  mkdirSync(join(root, "supabase"));
  writeFileSync(
    join(root, "supabase", "config.toml"),
    'project_id = "p"\n[api]\nport = 1\nmax_rows = 50\n[db]\nport = 2\n[functions.f]\nverify_jwt = false\n[functions.g]\n',
  );

  expect(readSettings({ root, name: "tokenbook" }, {})).toEqual({
    projectId: "p",
    apiPort: 1,
    dbPort: 2,
    maxRows: 50,
    jwtExpirySeconds: 3600,
    functions: { f: { verifyJwt: false }, g: { verifyJwt: true } },
  });
  const env = { TOKENBOOK_API_PORT: "11", TOKENBOOK_DB_PORT: "12" };
  expect(readSettings({ root, name: "tokenbook" }, env)).toMatchObject({ apiPort: 11, dbPort: 12 });
  expect(() => readSettings({ root, name: "tokenbook" }, { TOKENBOOK_DB_PORT: "many" })).toThrow(
    'TOKENBOOK_DB_PORT is "many"',
  );
});

test("a step shows its title before it is done, and its time afterwards", async () => {
  let screen = "";
  const steps = createSteps((text) => (screen += text));

  await steps.run("Working", ({ note, detail }) => {
    expect(screen).toBe("  Working … ");
    detail("a file");
    note("1 file");
  });
  const failing = steps.run("Failing", () => Promise.reject(new Error("no")));

  await expect(failing).rejects.toThrow("no");
  expect(screen.replace(/\d+\.\d s/g, "N s")).toBe(
    "  Working … \n    a file\n    1 file, N s\n  Failing … failed after N s\n",
  );
});
