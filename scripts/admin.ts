/* npm run admin -- add <email> | remove <email> | list   [--remote <url>] */
import { userInfo } from "node:os";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { addAdmin, listAdmins, removeAdmin, UserNotFound } from "./data/admins.ts";
import type { SqlClient } from "./data/client.ts";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { chooseTarget, withTarget } from "./target.ts";

const usage = `Who may grant and correct tokens.

  npm run admin -- add <email>       makes a user an administrator
  npm run admin -- remove <email>    takes that right away, at once
  npm run admin -- list              shows who has it

The database is the local one, unless SUPABASE_DB_URL or --remote <connection string> names another.`;

try {
  const { values, positionals } = readArguments();
  const [command, email, ...rest] = positionals;
  const needsEmail = command === "add" || command === "remove";
  if ((!needsEmail && command !== "list") || needsEmail !== (email !== undefined) || rest.length) {
    throw new Failure(usage);
  }
  // Empty counts as not set: that is what a variable left blank in an .env file is.
  const target = chooseTarget(values.remote ?? (process.env["SUPABASE_DB_URL"] || undefined));
  await withTarget(target, async (client) => {
    try {
      console.log(await run(client, command, email));
    } catch (error) {
      throw asFailure(error, target.name);
    }
  });
} catch (error) {
  reportFailure(error);
}

async function run(client: SqlClient, command: string, email = ""): Promise<string> {
  if (command === "add") {
    const { userId, changed } = await addAdmin(client, email, `npm run admin (${userInfo().username})`);
    return changed
      ? `${email} (${userId}) is an administrator now, from the next sign-in or token refresh on.`
      : `${email} (${userId}) is an administrator already; nothing was changed.`;
  }
  if (command === "remove") {
    const { userId, changed } = await removeAdmin(client, email);
    return changed
      ? `${email} (${userId}) is no administrator any more.`
      : `${email} (${userId}) is no administrator; nothing was changed.`;
  }
  const admins = await listAdmins(client);
  if (admins.length === 0) return "Nobody is an administrator.";
  const table = new Table({
    head: ["email", "user id", "since", "added by", ""],
    style: { head: [], border: [] },
  });
  for (const admin of admins) {
    table.push([
      admin.email ?? "(gone)",
      admin.userId,
      admin.addedAt?.toISOString().slice(0, 16).replace("T", " ") ?? "",
      admin.addedBy ?? "",
      admin.hasRole && admin.addedAt !== null ? "" : "by halves: add or remove him again",
    ]);
  }
  return table.toString();
}

function readArguments() {
  try {
    return parseArgs({ allowPositionals: true, options: { remote: { type: "string" } } });
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}

function asFailure(error: unknown, where: string): unknown {
  if (error instanceof UserNotFound) {
    return new Failure(`${error.message} (${where})`);
  }
  // undefined_table, invalid_schema_name
  if (["42P01", "3F000"].includes((error as { code?: string }).code ?? "")) {
    return new Failure(`Tokenbook is not installed in ${where}: apply the migrations first, npm run migrate`);
  }
  return error;
}
