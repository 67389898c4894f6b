/* npm start [-- --reset]: the whole of Supabase that Tokenbook needs, on this machine, without Docker. */
import { openSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildConsole } from "./build-console.ts";
import { demo } from "./demo.ts";
import { startApi } from "local-platform/gateway/api";
import { prepareDatabase } from "local-platform/postgres/prepare";
import { writeEnvFile } from "local-platform/project/env-file";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { prefetchFunctions } from "local-platform/functions/serve";
import { loadOrCreateKeys } from "local-platform/gateway/keys";
import { choosePlace } from "local-platform/project/place";
import { requireFreePort } from "local-platform/postgres/ports";
import { hasData, removeData, requireUnused, startPostgres } from "local-platform/postgres/server";
import { clusterOf, recordRunning } from "local-platform/project/running";
import { seedOnce } from "local-platform/project/seed";
import { readSettings } from "local-platform/project/settings";
import { createShutdown } from "local-platform/terminal/shutdown";
import { createSteps } from "local-platform/terminal/steps";
import { migrationUp } from "local-platform/project/supabase-cli";
import { serveConsole } from "../packages/tokenbook/src/console/serve.ts";
import { consolePort, consolePortVariable } from "./console-port.ts";
import { welcome } from "./welcome.ts";
import { project, projectRoot } from "./project.ts";

const begin = performance.now();
const shutdown = createShutdown(
  () => console.log("\nStopping …"),
  () => console.log("Stopped."),
);
try {
  await start();
} catch (error) {
  if (!shutdown.hasBegun) {
    reportFailure(error);
    await shutdown.now(1);
  }
}

async function start(): Promise<void> {
  const { reset } = readArguments();
  const settings = readSettings(project);
  const place = choosePlace(project);
  const steps = createSteps();
  console.log("\nTokenbook, on this machine\n");

  requireUnused(place.dataDir);
  if (reset) await steps.run("Removing the data", () => removeData(place.dataDir));
  await requireFreePort(settings.apiPort, "the API", "TOKENBOOK_API_PORT");
  await requireFreePort(consolePort(settings), "the console", consolePortVariable);
  // Begun now and awaited below: it waits for the network, the rest does not.
  const packages = prefetchFunctions(project);
  packages.catch(() => {});

  const isNew = !hasData(place.dataDir);
  const postgres = await steps.run("Starting Postgres", async ({ note }) => {
    const starting = startPostgres({
      dataDir: place.dataDir,
      native: place.native,
      port: settings.dbPort,
      portVariable: "TOKENBOOK_DB_PORT",
      howToReset: "npm start -- --reset",
      logFile: join(place.logsDir, "postgres.log"),
      settings: { cluster_name: clusterOf(project) },
    });
    shutdown.before("Postgres", starting);
    const server = await starting;
    note(`${place.native.packageVersion.split("-")[0]} on port ${server.port}${isNew ? ", new data" : ""}`);
    return server;
  });
  void postgres.ended.then(() => {
    if (shutdown.hasBegun) return;
    console.error(`\nPostgres has ended by itself; see ${join(place.logsDir, "postgres.log")}`);
    void shutdown.now(1);
  });

  await steps.run("Preparing roles, schemas and sign-in", () => prepareDatabase(postgres));
  await steps.run("Applying migrations", async ({ note, detail }) => {
    const { applied } = await migrationUp({ url: postgres.url(), onFile: detail });
    const all = readdirSync(join(projectRoot, "supabase", "migrations")).length;
    note(applied.length === 0 ? `none pending of ${all}` : `${applied.length} applied`);
  });
  await steps.run("Demo data", async ({ note }) => {
    note((await seedOnce(postgres.url(), projectRoot)) ? "seeded" : "there already");
  });

  await steps.run("Packages of the edge functions", () => packages);
  const keys = await loadOrCreateKeys(place.stateDir);
  const log = openSync(join(place.logsDir, "functions.log"), "w");
  const api = await steps.run("API and edge functions", async ({ note }) => {
    const starting = startApi({
      databaseUrlFor: (role) => postgres.url("postgres", role),
      keys,
      port: settings.apiPort,
      jwtExpirySeconds: settings.jwtExpirySeconds,
      maxRows: settings.maxRows,
      functions: { project, log: (line) => writeSync(log, `${line}\n`) },
    });
    shutdown.before("The API", starting);
    const running = await starting;
    note(Object.keys(settings.functions).join(", "));
    return running;
  });

  const page = await steps.run("Console", async ({ note }) => {
    note((await buildConsole()) ? "built" : "built already");
    const starting = serveConsole({ url: api.url, key: keys.publishableKey }, consolePort(settings));
    shutdown.before("The console", starting);
    return await starting;
  });

  recordRunning(project, { apiUrl: api.url, dbPort: postgres.port });
  const envFile = join(projectRoot, ".env.local");
  writeEnvFile(envFile, {
    SUPABASE_URL: api.url,
    SUPABASE_PUBLISHABLE_KEY: keys.publishableKey,
    SUPABASE_SECRET_KEY: keys.secretKey,
    SUPABASE_DB_URL: postgres.url(),
  });
  console.log(
    await welcome({ console: page.url, url: api.url, databaseUrl: postgres.url(), keys, envFile, demo }),
  );
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.log(`Ready after ${seconds} s. Ctrl-C stops everything; the data is kept.`);
}

function readArguments(): { reset: boolean } {
  try {
    return parseArgs({ options: { reset: { type: "boolean", default: false } } }).values as {
      reset: boolean;
    };
  } catch (error) {
    throw new Failure(
      `${(error as Error).message}\n\n  npm start               starts, or goes on where it was\n  npm start -- --reset    starts afresh: all data is removed`,
    );
  }
}
