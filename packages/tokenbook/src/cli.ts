#!/usr/bin/env node
/** `npx tokenbook <command>`: everything that is done with Tokenbook from a terminal. */
import { Command, CommanderError } from "@commander-js/extra-typings";
import { reportFailure } from "local-platform/terminal/failure";
import packageJson from "../package.json" with { type: "json" };
import { exit, Refusal } from "./command.ts";
import { admin } from "./commands/admin.ts";
import { archive } from "./commands/archive.ts";
import { check } from "./commands/check.ts";
import { checkpoint } from "./commands/checkpoint.ts";
import { consoleCommand } from "./commands/console.ts";
import { doctor } from "./commands/doctor.ts";
import { exportCommand } from "./commands/export.ts";
import { forget } from "./commands/forget.ts";
import { importCommand } from "./commands/import.ts";
import { install } from "./commands/install.ts";
import { migrate } from "./commands/migrate.ts";
import { move } from "./commands/move.ts";
import { partition } from "./commands/partition.ts";
import { prices } from "./commands/prices.ts";
import { reconcile } from "./commands/reconcile.ts";
import { restate } from "./commands/restate.ts";
import { shadow } from "./commands/shadow.ts";
import { switchCommand } from "./commands/switch.ts";
import { uninstall } from "./commands/uninstall.ts";
import { status } from "./commands/status.ts";
import { upgrade } from "./commands/upgrade.ts";
import { verify } from "./commands/verify.ts";

const program = new Command("tokenbook")
  .description("The books of AI tokens in a Supabase project.")
  .version(packageJson.version)
  .addHelpText(
    "after",
    `
The database is the one of --db-url or SUPABASE_DB_URL, else with --linked the linked project, else the local one of the
project in this folder. Ends with 0 when all is well, 1 when something is not or was refused, 2 when that could not be
found out.`,
  );

const groups = {
  "Into a project, and out again:": [
    check,
    install,
    status,
    importCommand,
    shadow,
    switchCommand,
    upgrade,
    uninstall,
  ],
  "The books:": [verify, doctor, reconcile, restate, checkpoint, exportCommand, partition, archive, prices],
  "People and migrations:": [consoleCommand, admin, forget, move, migrate],
};
for (const [heading, commands] of Object.entries(groups)) {
  program.commandsGroup(heading);
  for (const one of commands) program.addCommand(one as Command);
}
for (const one of withSubcommands(program as Command)) {
  one.exitOverride().showHelpAfterError("(--help says more)");
  one.configureOutput({ writeErr: (text) => console.error(text.trimEnd()) });
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? exit.right : exit.unknown;
  else {
    reportFailure(error);
    process.exitCode = error instanceof Refusal ? exit.wrong : exit.unknown;
  }
}

function withSubcommands(one: Command): Command[] {
  return [one, ...one.commands.flatMap((inner) => withSubcommands(inner as Command))];
}
