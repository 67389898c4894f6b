/** A fresh project of Vite and React, as its template makes one, with the packed `tokenbook` installed. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import rootJson from "../../package.json" with { type: "json" };
import packageJson from "../../packages/tokenbook/package.json" with { type: "json" };
import { projectRoot } from "../../scripts/project.ts";
import { pack } from "../install/packed.ts";

const run = promisify(execFile);
const ours = { ...rootJson.devDependencies, ...packageJson.devDependencies };

export interface Project {
  folder: string;
  /**
   * Builds a page by Vite: a file of this repository, as its entry.
   *
   * @returns the folder of what was built
   */
  build(name: string, file: string, options?: BuildOptions): Promise<string>;
  remove(): Promise<void>;
}

export interface BuildOptions {
  /** What `import.meta.env` has. */
  env?: Record<string, string>;
  /** React's own checks are on: effects twice, and a word where a page is not what the server had written. */
  development?: boolean;
  /** A known-bad variant of the package. */
  fault?: { right: string; wrong: string };
}

/** @param react which version of it: another by `REACT=18.3.1 npx vitest run tests/react` */
export async function makeProject(react = process.env["REACT"] ?? ours.react): Promise<Project> {
  const packed = await pack();
  const folder = packed.now;
  const dependencies = {
    "@supabase/supabase-js": ours["@supabase/supabase-js"],
    "@tanstack/react-query": ours["@tanstack/react-query"],
    react,
    "react-dom": react,
    tokenbook: packed.archive,
  };
  const devDependencies = { "@vitejs/plugin-react": "^6.0.0", vite: "^8.0.0" };
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ name: "app", private: true, type: "module", dependencies, devDependencies }),
  );
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline"], { cwd: folder });

  return {
    folder,
    async build(name, file, { env = {}, development = false, fault } = {}) {
      const root = join(folder, name);
      await mkdir(root, { recursive: true });
      await cp(join(projectRoot, dirname(file)), root, { recursive: true });
      const entry = basename(file);
      const html = join(root, "index.html");
      if (!existsSync(html)) {
        await writeFile(
          html,
          '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"></head>' +
            `<body><div id="root"></div><script type="module" src="/${entry}"></script></body></html>`,
        );
      }
      await writeFile(
        join(root, "vite.config.js"),
        'import react from "@vitejs/plugin-react";\nexport default { base: "./", plugins: [react()] };\n',
      );
      await writeFile(
        join(root, ".env"),
        Object.entries(env)
          .map(([key, value]) => `VITE_${key}=${value}\n`)
          .join(""),
      );
      const restore = fault && (await commit(join(folder, "node_modules/tokenbook/dist"), fault));
      const mode = development ? "development" : "production";
      await run(process.execPath, ["../node_modules/vite/bin/vite.js", "build", "--mode", mode], {
        cwd: root,
        env: { ...process.env, NODE_ENV: mode },
      });
      await restore?.();
      return join(root, "dist");
    },
    remove: () => packed.remove(),
  };
}

/** @returns puts it right again */
async function commit(dist: string, { right, wrong }: { right: string; wrong: string }) {
  for (const name of await readdir(dist)) {
    if (!/^react-.*\.js$/.test(name)) continue;
    const file = join(dist, name);
    const text = await readFile(file, "utf8");
    const parts = text.split(right);
    if (parts.length !== 2) continue;
    await writeFile(file, parts.join(wrong));
    return () => writeFile(file, text);
  }
  throw new Error(`nothing of tokenbook/react has it once: ${right}`);
}
