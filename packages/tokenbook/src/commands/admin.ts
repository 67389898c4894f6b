import Table from "cli-table3";
import { byWhom, command, databaseCommand, onDatabase } from "../command.ts";
import { addAdmin, listAdmins, removeAdmin } from "../data/admins.ts";
import { createVoice } from "../terminal/voice.ts";

const add = databaseCommand("add", "Makes a user an administrator.")
  .argument("<email>")
  .option("--json", "for machines")
  .action(async (email, { json, ...where }) => {
    const { say, answer } = createVoice(json);
    await onDatabase(where, async (client) => {
      const { userId, changed } = await addAdmin(client, email, byWhom("admin"));
      say(
        changed
          ? `${email} (${userId}) is an administrator now, from the next sign-in or token refresh on.`
          : `${email} (${userId}) is an administrator already; nothing was changed.`,
      );
      answer({ email, user_id: userId, is_admin: true, changed });
    });
  });

const remove = databaseCommand("remove", "Takes that right away, at once.")
  .argument("<email>")
  .option("--json", "for machines")
  .action(async (email, { json, ...where }) => {
    const { say, answer } = createVoice(json);
    await onDatabase(where, async (client) => {
      const { userId, changed } = await removeAdmin(client, email);
      say(
        changed
          ? `${email} (${userId}) is no administrator any more.`
          : `${email} (${userId}) is no administrator; nothing was changed.`,
      );
      answer({ email, user_id: userId, is_admin: false, changed });
    });
  });

const list = databaseCommand("list", "Shows who has it.")
  .option("--json", "for machines")
  .action(async ({ json, ...where }) => {
    await onDatabase(where, async (client) => {
      const admins = await listAdmins(client);
      createVoice(json).report({ admins }, () =>
        admins.length === 0 ? "Nobody is an administrator." : asTable(admins),
      );
    });
  });

/** `tokenbook admin`: who may grant and correct tokens. */
export const admin = command("admin", "Who may grant and correct tokens.")
  .addCommand(add)
  .addCommand(remove)
  .addCommand(list);

function asTable(admins: Awaited<ReturnType<typeof listAdmins>>): string {
  const byHalves = admins.filter(({ hasRole, addedAt }) => !hasRole || addedAt === null);
  const table = new Table({
    head: ["email", "user id", "since", "added by", ...(byHalves.length > 0 ? ["to be mended"] : [])],
    style: { head: [], border: [] },
  });
  for (const one of admins) {
    table.push([
      one.email ?? "(gone)",
      one.userId,
      one.addedAt?.toISOString().slice(0, 16).replace("T", " ") ?? "",
      one.addedBy ?? "",
      ...(byHalves.length === 0 ? [] : [byHalves.includes(one) ? "by halves: add or remove them again" : ""]),
    ]);
  }
  return table.toString();
}
