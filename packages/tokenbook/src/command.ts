/** What all commands have in common: which database, what goes wrong, and how they end. */
import { userInfo } from "node:os";
import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { HasOtherRole } from "./data/admins.ts";
import { UserNotFound } from "./data/users.ts";
import { asDatabaseFailure } from "./database/failure.ts";
import { chooseTarget, withTarget, type Target, type Where } from "./database/target.ts";

/**
 * How a command ends. `wrong`: it was found out, and is not as it should be, or was refused; nothing was changed.
 * `unknown`: it could not be found out or done: no such option, no connection, stopped half-way.
 */
export const exit = { right: 0, wrong: 1, unknown: 2 } as const;

/** Nothing was changed, because of how things are: ends with {@link exit}`.wrong`. */
export class Refusal extends Failure {
  override name = "Refusal";
}

/** A command, with a line for the list of commands and a text for its own help. */
export function command(name: string, line: string, text = ""): Command {
  // the terminal's width breaks lines, not this file's
  const paragraphs = text.replaceAll(/(?<!\n)\n(?!\n)/g, " ");
  return new Command(name).summary(line).description(text === "" ? line : `${line}\n\n${paragraphs}`);
}

/** A command that is about a database: `--db-url`, `--linked`, `--workdir`. */
export function databaseCommand(name: string, line: string, text = "") {
  return command(name, line, text)
    .option("--db-url <connection string>", "the database; or SUPABASE_DB_URL in the environment")
    .option(
      "--linked",
      "the hosted project that `supabase link` chose; its password is in SUPABASE_DB_PASSWORD",
    )
    .option("--workdir <folder>", "the folder that holds supabase/ (this one, or the next above it)");
}

/**
 * Says which database it is, connects, and does it.
 *
 * @throws Failure for what a person can do something about.
 */
export async function onDatabase(
  where: Where,
  work: (client: pg.Client, target: Target) => Promise<void>,
): Promise<void> {
  const target = chooseTarget(where);
  // before anything else, and never among what is printed for machines
  console.error(`On ${target.name}`);
  await withTarget(target, async (client, role) => {
    try {
      await work(client, target);
    } catch (error) {
      if (error instanceof UserNotFound) throw new Failure(`${error.message} (${target.name})`);
      if (error instanceof HasOtherRole) throw new Refusal(`${error.message} ${howToReplace}`);
      throw asDatabaseFailure(error, target.name, role);
    }
  });
}

const howToReplace =
  "An administrator's is admin. To replace it, and have it\nput back when the right goes: npx tokenbook admin add <email> --replace-role. Nothing was changed.";

/** The operating system's user who runs this command, for the books: at most as long as a reason may be. */
export const byWhom = (what: string): string => `tokenbook ${what} (${userInfo().username})`.slice(0, 500);

/** A whole number of an option, from `least` to `most`; for commander. */
export const wholeNumber =
  (least: number, unit: string, most = 999_999_999_999_999) =>
  (text: string): number => {
    const number = Number(text);
    if (!/^\d{1,15}$/.test(text) || number < least || number > most) {
      throw new InvalidArgumentError(
        `It is a whole number of ${unit}, ${most < 999_999_999_999_999 ? `${least} to ${most}` : `${least} or more`}.`,
      );
    }
    return number;
  };

/** A day of an option, for commander: today or one before it, as the moment with which it begins (UTC). */
export function pastDay(text: string): string {
  const moment = new Date(`${text}T00:00:00Z`);
  if (
    !/^\d{4}-\d\d-\d\d$/.test(text) ||
    Number.isNaN(moment.getTime()) ||
    moment.toISOString().slice(0, 10) !== text
  )
    throw new InvalidArgumentError("It is a day that there is, as 2026-01-31.");
  if (moment.getTime() > Date.now() - 60_000)
    throw new InvalidArgumentError("It is today or a day before it: what is used now stays in the table.");
  return `${text}T00:00:00Z`;
}

/** A lifetime of an option, for commander: as long as a plan's can be. */
export const daysOfLife = wholeNumber(1, "days", 36_500);
