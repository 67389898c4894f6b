/** Every public function, called once with what it comes to something with, and what came of each. */
import { isSlug } from "../../supabase/functions/_shared/errors.ts";
import { hear } from "../support/both.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import type { Database } from "../support/database.ts";
import { populateUser } from "../support/populated-user.ts";
import { createUser } from "../support/roles.ts";
import { setTheStage } from "../support/staged-calls.ts";

/** The names of the functions, by what came of their calls. */
export interface Tally {
  answered: string[];
  /** With an error of the registry: `name: error`. */
  refused: string[];
  /** With anything else: `name: code message`. */
  failed: string[];
}

/** Calls each as the server, or where the server may not, as an admin; nothing of it is kept but the user. */
export async function callEveryFunction(db: Database): Promise<Tally> {
  await makePlans(db);
  const user = await populateUser(db);
  const admin = await createUser(db, { admin: true });
  const own = await setTheStage({ db, user });
  const tally: Tally = { answered: [], refused: [], failed: [] };
  for (const fn of await callablesOf(db)) {
    if (fn.schema !== "public" || !/token|get_user_storage_quota/.test(fn.name)) continue;
    const name = fn.name.replace("public.", "");
    const { sql, values } = callOf(fn, { ...argumentsAbout(user, fn), ...own[name] });
    let heard = await hear(db, { role: "service_role" }, sql, values);
    if ("code" in heard && heard.message === "admin_required") {
      const claims = { sub: admin, role: "authenticated", app_metadata: { role: "admin" } };
      heard = await hear(db, claims, sql, values);
    }
    if ("answer" in heard) tally.answered.push(name);
    else if (isSlug(heard.message)) tally.refused.push(`${name}: ${heard.message}`);
    else tally.failed.push(`${name}: ${heard.code} ${heard.message}`);
  }
  return tally;
}

/** The plans that the users here are on, where the project has not got them. */
const makePlans = (db: Database) =>
  db.admin.query(`
    insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grant_type, grant_lifetime_days, rank)
    values ('professional', 'Professional', 2000000, 3900, 'monthly', 'plan', null, 30),
           ('annual', 'Annual membership', 5000000, 19900, 'annual', 'annual', 365, 40)
    on conflict do nothing`);
