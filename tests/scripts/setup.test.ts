/** What `npm start` and `npm test` run first, in a fresh checkout. */
import { execFile } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tokenbook-checkout-"));
  mkdirSync(join(folder, "scripts"));
  cpSync(join(projectRoot, "scripts/setup.mjs"), join(folder, "scripts/setup.mjs"));
  writeFileSync(
    join(folder, "package.json"),
    '{ "name": "a", "version": "1.0.0", "dependencies": { "b": "1.0.0" } }',
  );
  writeFileSync(
    join(folder, "package-lock.json"),
    '{ "name": "a", "version": "1.0.0", "lockfileVersion": 3, "packages": { "": { "name": "a", "version": "1.0.0" } } }',
  );
});
afterEach(() => rmSync(folder, { recursive: true }));

const setup = (env: NodeJS.ProcessEnv) =>
  promisify(execFile)(process.execPath, [join(folder, "scripts/setup.mjs")], {
    env: { ...process.env, ...env },
  }).then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      said: error.stdout + error.stderr,
    }),
  );

test("where npm ci fails its reason is above, also of a silent command", async () => {
  const { code, said } = await setup({ npm_config_loglevel: "silent" });
  expect([code, said]).toEqual([
    1,
    expect.stringMatching(/Missing: b@1\.0\.0[^]*what it says above is the reason/),
  ]);
});

test("of two at once one installs, and the other waits for it; after one that was killed nobody waits", async () => {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "npm"),
    `#!/bin/sh\necho begin >> "${folder}/log"; sleep 1; mkdir -p "${folder}/node_modules"; echo end >> "${folder}/log"\n`,
  );
  chmodSync(join(bin, "npm"), 0o755);
  const env = { PATH: `${bin}:${process.env["PATH"]}` };
  const both = await Promise.all([setup(env), setup(env), setup(env)]);
  expect(both.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(both.filter(({ said }) => said.includes("waiting for it"))).toHaveLength(2);
  expect(readFileSync(join(folder, "log"), "utf8")).toBe("begin\nend\n");

  rmSync(join(folder, "node_modules"), { recursive: true });
  const killed = promisify(execFile)(process.execPath, [join(folder, "scripts/setup.mjs")], {
    env: { ...process.env, ...env },
    timeout: 700,
    killSignal: "SIGKILL",
  });
  await expect(killed).rejects.toThrow();
  expect(await setup(env)).toMatchObject({ code: 0, said: expect.not.stringContaining("waiting for it") });
});
