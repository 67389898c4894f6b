import Table from "cli-table3";
import { byWhom, command, databaseCommand, onDatabase } from "../command.ts";
import { addAdmin, listAdmins, removeAdmin } from "../data/admins.ts";
import { createVoice } from "../terminal/voice.ts";

/** What setting the role is besides: policies of projects read it. */
export const whatTheRoleMeans =
  'Their app_metadata.role is "admin" now: policies and code of your own that look at it take them for one too.';

const add = databaseCommand(
  "add",
  "Makes a user an administrator.",
  `That is two things: a row in tokenbook.admins, and "role": "admin" in the user's app_metadata, which their tokens carry.
Policies and code of your own that look at app_metadata.role take them for an admin too. What the role was is remembered,
and put back by remove; another role than admin is your app's, and is replaced with --replace-role only.`,
)
  .argument("<email>")
  .option("--replace-role", "also where your app gave them another role")
  .option("--json", "for machines")
  .action(async (email, { replaceRole, json, ...where }) => {
    const { say, answer } = createVoice(json);
    await onDatabase(where, async (client) => {
      const { userId, changed, roleSet } = await addAdmin(client, email, byWhom("admin"), {
        mayReplace: replaceRole ?? false,
      });
      say(
        changed
          ? `${email} (${userId}) is an administrator now${roleSet ? `, from the next sign-in or token refresh on.\n${whatTheRoleMeans}` : ": their role was admin already."}`
          : `${email} (${userId}) is an administrator already; nothing was changed.`,
      );
      answer({ email, user_id: userId, is_admin: true, changed, role_set: roleSet });
    });
  });

const remove = databaseCommand(
  "remove",
  "Takes that right away, at once.",
  "What app_metadata.role was before is put back. A role that add did not set is your app's, and stays.",
)
  .argument("<user id or email>")
  .option("--json", "for machines")
  .action(async (user, { json, ...where }) => {
    const { say, answer } = createVoice(json);
    await onDatabase(where, async (client) => {
      const { userId, changed, role } = await removeAdmin(client, user);
      const whose = user === userId ? userId : `${user} (${userId})`;
      const is =
        role === undefined
          ? "they have no app_metadata.role"
          : `app_metadata.role is ${JSON.stringify(role)}`;
      say(
        changed
          ? `${whose} is no administrator of Tokenbook's any more; ${is}.`
          : `${whose} is no administrator of Tokenbook's; nothing was changed, and ${is}.`,
      );
      answer({ user_id: userId, is_admin: false, changed, role: role ?? null });
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
  const byHalves = admins.filter(({ hasRole }) => !hasRole);
  const table = new Table({
    head: ["email", "user id", "since", "added by", ...(byHalves.length > 0 ? ["to be mended"] : [])],
    style: { head: [], border: [] },
  });
  for (const one of admins) {
    table.push([
      one.email ?? "(gone)",
      one.userId,
      one.addedAt.toISOString().slice(0, 16).replace("T", " "),
      one.addedBy,
      ...(byHalves.length === 0
        ? []
        : [
            one.hasRole
              ? ""
              : one.email === null
                ? "gone from auth.users: remove them"
                : "the role is admin no more, so they may nothing: add them again, or remove them",
          ]),
    ]);
  }
  return table.toString();
}
