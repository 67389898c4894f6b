/**
 * npm run bench -- --against <commit> [<call> …] [--clients 1,8] [--rounds 7] [--seconds 3] [--partitions 8]: what a caller
 * waits for and what a processor does, as it is here and as it was at that commit. Both are databases of one server, with
 * the same users, and each call is made in turns: here, there; there, here. A ratio below 1 is slower than it was, or takes
 * less of a processor. With --partitions the ledger here is in so many: against HEAD, what they cost.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { superuser } from "local-platform/postgres/server";
import { migrationUp } from "local-platform/project/supabase-cli";
import { Failure } from "local-platform/terminal/failure";
import { compare, type Figures, type Spread } from "./compare.ts";
import { contenders } from "./contenders.ts";
import { split } from "./instructions.ts";
import { armOf, asHosted, prepare } from "./measure.ts";
import { settingOf, withClient } from "./on-scratch.ts";
import { withPlatform } from "../schema/scratch-database.ts";
import { projectRoot } from "../project.ts";

const users = 1e4;
const before = "before";

/** The whole command. Prints what it found, and progress through `say`; `clear` takes that away. */
export async function against(args: string[], say: (text: string) => void, clear: () => void): Promise<void> {
  const { values, positionals: names } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      against: { type: "string" },
      clients: { type: "string", default: "1,8" },
      rounds: { type: "string", default: "7" },
      seconds: { type: "string", default: "3" },
      partitions: { type: "string", default: "1" },
    },
  });
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const clientCounts = values.clients.split(",").map(Number);
  if (![rounds, seconds, ...clientCounts].every((number) => Number.isInteger(number) && number >= 1))
    throw new Failure("--rounds, --seconds and --clients are whole numbers from 1 on.");
  const calls = contenders.filter(({ script }) => script.includes("public."));
  const unknown = names.filter((name) => !calls.some((call) => call.name === name));
  if (unknown.length > 0)
    throw new Failure(
      `There is no call ${unknown.join(", ")}. There are: ${calls.map(({ name }) => name).join("; ")}.`,
    );
  const chosen = calls.filter(({ name }) => names.length === 0 || names.includes(name));
  const workdir = await mkdtemp(join(tmpdir(), "tokenbook-before-"));
  try {
    const commit = schemaOf(values.against!, workdir);
    await withPlatform(async (url, server) => {
      await withClient(server.url("template1", superuser), (client) =>
        client.query(`create database ${before} template postgres owner postgres`),
      );
      const there = new URL(url);
      there.pathname = before;
      say("installing both");
      await migrationUp({ url });
      await migrationUp({ url: there.href, workdir });
      for (const database of ["postgres", before])
        await prepare({ server, effort: { users }, say }, database);
      if (values.partitions !== "1") await split(url, Number(values.partitions));
      const table = new Table({
        style: { head: [], border: [], compact: true },
        head: [
          "call",
          ...clientCounts.flatMap((n) => [`${n} client${n === 1 ? "" : "s"}: a second`, "processor"]),
        ],
      });
      const cells = new Map<string, string[]>(chosen.map(({ name }) => [name, []]));
      for (const clients of clientCounts)
        for (const [nth, call] of chosen.entries()) {
          const arm = armOf(call, users);
          const found = await compare(server, {
            arms: [{ ...arm, name: before, database: before }, arm],
            base: before,
            clients,
            rounds,
            seconds,
            onRun: (name) =>
              say(
                `${clients} clients, ${call.name} (${nth + 1} of ${chosen.length}), ${name === before ? "there" : "here"}`,
              ),
          });
          const { ratio, cpuRatio }: Figures = found.get(call.name)!;
          cells.get(call.name)!.push(written(ratio), cpuRatio?.median.toFixed(3) ?? "");
        }
      for (const [name, figures] of cells) table.push([name, ...figures]);
      clear();
      console.log(
        `${await withClient(url, settingOf)}. Here over ${commit}, medians of ${rounds} rounds of ${seconds} s: calls a second, with the lowest and the highest round (above 1 is faster than it was), and processor a call (below 1 is less). A few rounds tell nothing: the select is the same statement in both: what it differs by is the machine's.`,
      );
      console.log(table.toString());
    }, asHosted);
  } finally {
    await rm(workdir, { recursive: true });
  }
}

/** Puts what that commit installs into a folder. @throws Failure when there is no such commit. */
function schemaOf(name: string, folder: string): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: projectRoot, maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "pipe"] });
  try {
    const commit = git("rev-parse", "--short", "--verify", "--end-of-options", `${name}^{commit}`)
      .toString()
      .trim();
    execFileSync("tar", ["-x", "-C", folder], { input: git("archive", commit, "supabase") });
    return commit;
  } catch {
    throw new Failure(`There is no commit ${name} here with a folder supabase.`);
  }
}

const written = ({ median, min, max }: Spread): string =>
  `${median.toFixed(3)} (${min.toFixed(3)} to ${max.toFixed(3)})`;
