/** Users of whom something is unusual: what is due, a cap, a team, a frozen account, a first touch. */
import { about, setPlan } from "../plans/schedules/schedules.ts";
import { grant } from "./books.ts";
import type { Database } from "./database.ts";
import type { Dice } from "./dice.ts";
import { createUser } from "./roles.ts";
import { letTimePass } from "./time.ts";

/** Somebody who spends, each in another way unusual; returns who. Amounts are of chance. */
type Case = (of: Database, dice: Dice) => Promise<string>;

const some = (dice: Dice) => 20 + dice.below(80);
const freeze = (of: Database, user: string) =>
  about(of, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });

/** A user with tokens of which half have an end, some spent and some held. */
async function usual(of: Database, dice: Dice): Promise<string> {
  const user = await createUser(of);
  await grant(of, user, some(dice));
  await grant(of, user, some(dice), { type: "trial", expires_in: "2 days" });
  await about(of, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 + dice.below(10) });
  await about(of, user)("reserve_tokens", { p_tokens: 1 + dice.below(10), p_ttl_seconds: 3_600 });
  return user;
}

const cases: Record<string, Case> = {
  usual,
  "nobody with anything": (of) => createUser(of),
  "grants and holds that have run out": async (of, dice) => {
    const user = await usual(of, dice);
    await letTimePass(of, user, 3);
    return user;
  },
  "holds that have run out": async (of, dice) => {
    const user = await usual(of, dice);
    await letTimePass(of, user, 1);
    return user;
  },
  "a slot that is due": async (of) => {
    const user = await createUser(of);
    await about(of, user)("change_token_plan", { p_plan_type: "daily" });
    await letTimePass(of, user, 1.5);
    return user;
  },
  "a refill that is due": async (of, dice) => {
    const user = await createUser(of);
    await about(of, user)("change_token_plan", { p_plan_type: "refilled" });
    await about(of, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 + dice.below(50) });
    await letTimePass(of, user, 2.5);
    return user;
  },
  "a cap of their own": async (of, dice) => {
    const user = await usual(of, dice);
    await about(of, user)("set_token_spend_cap", { p_window: "day", p_tokens: 15 + dice.below(10) });
    return user;
  },
  "a cap of their plan": async (of) => {
    const user = await createUser(of);
    await about(of, user)("change_token_plan", { p_plan_type: "capped" });
    return user;
  },
  frozen: async (of, dice) => {
    const user = await usual(of, dice);
    await freeze(of, user);
    return user;
  },
  "a member of a team": async (of, dice) => await memberOf(of, await usual(of, dice)),
  "a member with a cap": async (of, dice) => await memberOf(of, await usual(of, dice), 5 + dice.below(5)),
  "a member, and what has run out": async (of, dice) => {
    const payer = await usual(of, dice);
    const member = await memberOf(of, payer);
    await letTimePass(of, payer, 3);
    return member;
  },
  "a frozen member": async (of, dice) => {
    const member = await memberOf(of, await usual(of, dice));
    await freeze(of, member);
    return member;
  },
  "a member of a frozen payer": async (of, dice) => {
    const payer = await usual(of, dice);
    const member = await memberOf(of, payer);
    await freeze(of, payer);
    return member;
  },
};

/** Those of whom a default plan is asked that they have not been given: it is a trial. */
const newcomers: Record<string, Case> = {
  "a first touch": (of) => createUser(of),
  "a first touch of somebody whom nobody recognises": async (of) => {
    const user = await createUser(of);
    await of.admin.query("update auth.users set email = null where id = $1", [user]);
    return user;
  },
  "a first touch, frozen": async (of) => {
    const user = await createUser(of);
    await freeze(of, user);
    return user;
  },
  "a first touch by a member": async (of) => await memberOf(of, await createUser(of)),
  "a counter of 0 from before": async (of) => {
    const user = await createUser(of);
    await of.admin.query(
      `insert into tokenbook.archived_profile_counters (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost)
       values ($1, 0, 0, 0)`,
      [user],
    );
    return user;
  },
};

/** Somebody who spends from the payer's account, up to a cap a day. */
export async function memberOf(of: Database, payer: string, cap: number | null = null): Promise<string> {
  const member = await createUser(of);
  await about(of, payer)("add_token_team_member", { p_member_id: member, p_cap_day: cap });
  return member;
}

/** One of each, with what is unusual about them. */
export async function unusualUsers(of: Database, dice: Dice): Promise<[what: string, user: string][]> {
  await setPlan(of, "daily", { tokens: 40, issue_every: "day", grant_lifetime_days: 1 });
  await setPlan(of, "refilled", { tokens: 60, issue_every: "day", refill_to: 60 });
  await setPlan(of, "capped", { tokens: 50 });
  return await made(cases, of, dice);
}

/** One of each whom a default plan is to be given that they have not been given: from then on there is one, a trial. */
export async function newcomersOf(of: Database, dice: Dice): Promise<[what: string, user: string][]> {
  await of.admin.query(
    `update public.token_plans set is_default = true, given_to_users_since = '-infinity', tokens = 70
      where plan_type = 'trial'`,
  );
  return await made(newcomers, of, dice);
}

async function made(all: Record<string, Case>, of: Database, dice: Dice) {
  const users: [string, string][] = [];
  for (const [what, make] of Object.entries(all)) users.push([what, await make(of, dice)]);
  return users;
}
