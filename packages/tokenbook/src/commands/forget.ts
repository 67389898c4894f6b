import { databaseCommand, onDatabase } from "../command.ts";
import { added, forgetUser, isSignedUp, whatIsPersonal, type Erased } from "../data/forgetting.ts";
import { findUserId } from "../data/users.ts";
import { agrees } from "../terminal/ask.ts";
import { count, createProgress } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook forget`: for a person who asks to be erased. */
export const forget = databaseCommand(
  "forget",
  "Erases what is personal of a user; every number stays.",
  `Metadata, reasons and messages of errors go, in the ledger and beside it; tokens, money, ids and keys stay, and the
books are right before and after. It says first what it would erase, and asks. Who asked and when is kept. A checkpoint
from before says afterwards that this user's words are gone, as a breach (I6) of this user's: make a new one.`,
)
  .argument("<user id or email>")
  .option("--yes", "does not ask")
  .option("--json", "for machines; without --yes what would be erased")
  .action(async (idOrEmail, { yes, json, ...where }) => {
    const voice = createVoice(json);
    await onDatabase(where, async (client, target) => {
      const userId = await findUserId(client, idOrEmail);
      const isThere = await isSignedUp(client, userId);
      if (!yes) {
        const personal = await whatIsPersonal(client, userId);
        if (json) {
          voice.answer({ user_id: userId, is_signed_up: isThere, would_erase: personal });
          return;
        }
        if (Object.keys(personal).length === 0) {
          voice.say(nothingOf(userId) + stillThere(isThere));
          return;
        }
        voice.say(`Of ${userId} would be erased:\n${asLines(personal)}${stillThere(isThere)}`);
        await agrees(`Erase it from ${target.name}? That cannot be undone.`);
      }
      const progress = createProgress(process.stderr, { inLogs: true });
      let erased: Erased = {};
      for await (const portion of forgetUser(client, userId)) {
        erased = added(erased, portion);
        progress.show(`${count(rowsOf(erased), "row")}`);
      }
      progress.clear();
      voice.report(
        { user_id: userId, is_signed_up: isThere, erased },
        () =>
          (rowsOf(erased) === 0
            ? nothingOf(userId)
            : `Erased of ${userId}:\n${asLines(erased)}\n${newCheckpoint}`) + stillThere(isThere),
      );
    });
  });

const newCheckpoint =
  "A checkpoint from before says from now on that this user's words are gone (I6): make a new one, npx tokenbook checkpoint,\nand keep beside the old one who was erased and when.";

const nothingOf = (userId: string): string => `There is nothing personal of ${userId} in the books.`;

const rowsOf = (erased: Erased): number => Object.values(erased).reduce((sum, rows) => sum + rows, 0);

const asLines = (erased: Erased): string =>
  Object.entries(erased)
    .map(([table, rows]) => `  ${table.padEnd(34)} ${count(rows, "row")}`)
    .join("\n");

const stillThere = (isThere: boolean): string =>
  isThere
    ? "\nThey can still sign in: delete them in Supabase Auth first, or what they do next is written down again."
    : "";
