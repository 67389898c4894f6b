import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "tsdown";
import { build } from "vite";

const supabase = fileURLToPath(new URL("../../supabase", import.meta.url));
const dist = fileURLToPath(new URL("dist", import.meta.url));

const client = {
  entry: {
    index: "src/client/index.ts",
    admin: "src/admin/index.ts",
    ai: "src/ai/index.ts",
    react: "src/react/index.ts",
  },
  platform: "neutral",
  target: "es2022",
  // wherever an app runs, and nothing beside it: what it needs is in the file
  deps: { onlyBundle: ["eventsource-parser"] },
  dts: true,
  // what runs in a page alone is a file of its own and says so; the queries are another, for servers too
  inputOptions: { preserveEntrySignatures: "allow-extension" },
  outputOptions: {
    codeSplitting: {
      includeDependenciesRecursively: false,
      groups: [
        { name: "react-queries", test: /src\/react\/queries\.ts$/ },
        { name: "react-page", test: /src\/react\/(?!index)\w+\.tsx?$/ },
      ],
    },
    banner: ({ name }) => (name === "react-page" ? '"use client";' : ""),
  },
  clean: false, // the other entry's files are in the same folder
} satisfies UserConfig;

const cli = {
  entry: "src/cli.ts",
  platform: "node",
  target: "node20.19",
  // the local platform is this repository's; what it has that a command needs goes along
  deps: { alwaysBundle: [/^local-platform/], onlyBundle: [/^local-platform/, "@commander-js/extra-typings"] },
  dts: false,
  hooks: {
    "build:done": async () => {
      await rm(join(dist, "supabase"), { recursive: true, force: true });
      await mkdir(join(dist, "supabase/migrations"), { recursive: true });
      await cp(join(supabase, "releases.json"), join(dist, "supabase/releases.json"));
      for (const file of await readdir(join(supabase, "migrations"))) {
        if (/_(tokenbook|jobs)\.sql$|_tokenbook_\w+\.sql$/.test(file)) {
          await cp(join(supabase, "migrations", file), join(dist, "supabase/migrations", file));
        }
      }
      await cp(join(supabase, "functions"), join(dist, "supabase/functions"), {
        recursive: true,
        filter: (path) => !path.endsWith("/.env"),
      });
      await cp(join(supabase, "distributed"), join(dist, "supabase/distributed"), { recursive: true });
      await cp(join(supabase, "schemas/90_audit"), join(dist, "supabase/schemas/90_audit"), {
        recursive: true,
      });
      const page = fileURLToPath(new URL("../../console", import.meta.url));
      const outDir = join(dist, "console");
      await build({ root: page, logLevel: "warn", build: { outDir, emptyOutDir: true, manifest: false } });
      await cp(fileURLToPath(new URL("src/catalog/catalog.sql", import.meta.url)), join(dist, "catalog.sql"));
    },
  },
} satisfies UserConfig;

export default defineConfig([cli, client]);
