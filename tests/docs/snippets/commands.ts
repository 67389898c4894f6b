/** The commands of a page, and whether there is such a command with such options. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import packageJson from "../../../package.json" with { type: "json" };
import { admin } from "../../../packages/tokenbook/src/commands/admin.ts";
import { archive } from "../../../packages/tokenbook/src/commands/archive.ts";
import { check } from "../../../packages/tokenbook/src/commands/check.ts";
import { checkpoint } from "../../../packages/tokenbook/src/commands/checkpoint.ts";
import { consoleCommand } from "../../../packages/tokenbook/src/commands/console.ts";
import { doctor } from "../../../packages/tokenbook/src/commands/doctor.ts";
import { exportCommand } from "../../../packages/tokenbook/src/commands/export.ts";
import { forget } from "../../../packages/tokenbook/src/commands/forget.ts";
import { importCommand } from "../../../packages/tokenbook/src/commands/import.ts";
import { install } from "../../../packages/tokenbook/src/commands/install.ts";
import { migrate } from "../../../packages/tokenbook/src/commands/migrate.ts";
import { move } from "../../../packages/tokenbook/src/commands/move.ts";
import { partition } from "../../../packages/tokenbook/src/commands/partition.ts";
import { prices } from "../../../packages/tokenbook/src/commands/prices.ts";
import { reconcile } from "../../../packages/tokenbook/src/commands/reconcile.ts";
import { restate } from "../../../packages/tokenbook/src/commands/restate.ts";
import { shadow } from "../../../packages/tokenbook/src/commands/shadow.ts";
import { status } from "../../../packages/tokenbook/src/commands/status.ts";
import { switchCommand } from "../../../packages/tokenbook/src/commands/switch.ts";
import { uninstall } from "../../../packages/tokenbook/src/commands/uninstall.ts";
import { upgrade } from "../../../packages/tokenbook/src/commands/upgrade.ts";
import { verify } from "../../../packages/tokenbook/src/commands/verify.ts";
import { projectRoot } from "../../../scripts/project.ts";
import type { Snippet } from "./pages.ts";

/** Every command of `tokenbook`. */
export const known = [
  admin,
  archive,
  check,
  checkpoint,
  consoleCommand,
  doctor,
  exportCommand,
  forget,
  importCommand,
  install,
  migrate,
  move,
  partition,
  prices,
  reconcile,
  restate,
  shadow,
  status,
  switchCommand,
  uninstall,
  upgrade,
  verify,
] as unknown as Command[];

/** What belongs to somebody else, as far as a page shows it. */
const others = [
  /^npx supabase (start|db reset|functions serve)$/,
  /^(supabase db (push|dump)|supabase migration repair|psql|pg_dump|PGOPTIONS="[^"]+" pg_restore) /, // tests/install/moving.test.ts
  /^npm run dev --workspace console$/,
  /^curl /, // run by tests/examples/snippets.test.ts, or shown with what it answers
  /^(CALLS|KILLS|ROUNDS|STREAMS|USERS)=\d+ npx vitest run \S+$/,
];

/** The commands of a block: each line of one in bash, and what follows a `$ ` elsewhere; comments and pipes left off. */
export function commandsIn({ language, text }: Snippet): string[] {
  const lines = text.replaceAll(/\\\n\s*/g, "").split("\n");
  return (language === "bash" ? lines : lines.filter((line) => line.startsWith("$ ")))
    .map((line) =>
      line
        .replace(/^\$ /, "")
        .replace(/\s+#.*$/, "")
        .replace(/\s+\|.*$/, "")
        .trim(),
    )
    .filter((line) => line !== "");
}

/** Why a command is none. */
export function faultOf(command: string): string[] {
  const [, script, rest] = /^npm (?:run (?:--silent )?)?([\w:]+)(?: -- (.*))?$/.exec(command) ?? [];
  const [, name, args] = /^npx tokenbook (\w+)(.*)$/.exec(command) ?? [];
  const node = /^(?:\w+=\S+ )*node (?:--env-file=\S+ )?--import tsx (\S+)$/.exec(command)?.[1];
  if (node !== undefined)
    return existsSync(join(projectRoot, node)) ? [] : [`${command}: there is no such file`];
  if (script !== undefined && !(script in packageJson.scripts))
    return [`${command}: there is no such script`];
  const found = known.find((one) => one.name() === (name ?? script));
  if (found !== undefined) {
    const options = [found, ...found.commands].flatMap((one) => one.options.map(({ long }) => long));
    return [...(args ?? rest ?? "").matchAll(/(?<=^|\s)--[\w-]+/g)]
      .filter(([option]) => !options.includes(option))
      .map(([option]) => `${command}: there is no option ${option}`);
  }
  if (name !== undefined) return [`${command}: there is no such command`];
  return script !== undefined || others.some((one) => one.test(command))
    ? []
    : [`${command}: not a command that is looked up`];
}
