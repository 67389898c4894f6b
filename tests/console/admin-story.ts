/** Who and what an admin finds: users of every kind, one with a month behind them, one whose books are wrong. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { type Opening, type Person, signIn, startTrial, type Trial } from "./page.ts";

/** An admin: made one before they sign in, so that their token says so. */
export async function adminOf(trial: Trial, email = `${crypto.randomUUID()}@example.com`): Promise<Person> {
  const admin = await trial.person(email);
  await trial.stack.db.admin.query("insert into tokenbook.admins (user_id) values ($1)", [admin.id]);
  await trial.stack.db.admin.query(
    `update auth.users set raw_app_meta_data = raw_app_meta_data || '{"role": "admin"}' where id = $1`,
    [admin.id],
  );
  return admin;
}

/**
 * Around the tests of a file: a trial with an admin, and at its end books that are right.
 * @param begin what the file's tests find there
 */
export function withAdmin(email: string, begin: (trial: Trial, admin: Person) => unknown): void {
  let trial: Trial;
  beforeAll(async () => {
    trial = await startTrial();
    await begin(trial, await adminOf(trial, email));
  }, 300_000);
  afterAll(async () => {
    await expectCleanBooks(trial.stack.db);
    await trial.close();
  });
}

/** Opens one of the pages under /admin/ as an admin who signs in there. */
export async function openAdmin(
  trial: Trial,
  admin: Person,
  path: string,
  opening: Omit<Opening, "path"> = {},
): Promise<Page> {
  const page = await trial.visit({ ...opening, path: `/admin/${path}` });
  await signIn(page, admin.email);
  return page;
}

/** Puts a pack into the catalogue: 1,000 tokens for $5. */
export const sellSmallPack = (trial: Trial) =>
  trial.stack.db.admin.query(
    "insert into public.token_packs (pack_type, name, tokens, price_cents) values ('small', 'Small', 1000, 500)",
  );

/** Somebody with 9,700 tokens, and a use that was written down and never paid. */
export async function withUnpaidUse(trial: Trial, tokens: number): Promise<Person> {
  const person = await trial.person();
  await trial.serve("track_token_usage", {
    p_user_id: person.id,
    p_action_type: "chat_conversation",
    p_model_used: "gpt-4",
    p_tokens_used: 300,
  });
  await trial.stack.db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, success, created_at)
     values ($1, 'chat_conversation', 'gpt-4', $2, true, clock_timestamp())`,
    [person.id, tokens],
  );
  return person;
}

const names = [
  "ada",
  "boris",
  "chen",
  "dalia",
  "emeka",
  "farah",
  "gustav",
  "hana",
  "ilse",
  "jorge",
  "kofi",
  "lena",
];

export interface Story {
  /** With a month of use, grants of many kinds, payments, a hold. */
  mira: Person;
  /** Whose balance is more than the records say. */
  broken: Person;
  others: Person[];
}

export async function manyUsers(trial: Trial): Promise<Story> {
  const { db } = trial.stack;
  await whoIsTold(trial);
  await db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents) values ('pack_500k', 'Half a million', 500000, 900)
     on conflict do nothing`,
  );
  const others: Person[] = [];
  for (const [n, name] of names.entries()) {
    const person = await trial.person(`${name}@example.com`);
    others.push(person);
    await trial.serve("grant_tokens", { p_user_id: person.id, p_tokens: 20_000 * (n + 1) });
    if (n % 3 === 0) continue;
    const used = { p_action_type: "chat_conversation", p_model_used: "gpt-4", p_tokens_used: 1_700 * n };
    await trial.serve("track_token_usage", { p_user_id: person.id, ...used });
  }
  const mira = await trial.person("mira@example.com");
  await db.admin.query("insert into tokenbook.test_users (user_id) values ($1)", [mira.id]);
  await trial.serve("grant_tokens", { p_user_id: mira.id, p_tokens: 500_000, p_grant_type: "purchase" });
  const models = ["gpt-4", "gpt-4", "claude-sonnet-4", "gpt-4o-mini"];
  for (let day = 0; day < 20; day++) {
    for (let n = 0; n < (day % 7 > 4 ? 1 : 2); n++) {
      await trial.serve("track_token_usage", {
        p_user_id: mira.id,
        p_action_type: ["chat_conversation", "blueprint_generation", "image_generation"][(day + n) % 3],
        p_model_used: models[(day * 3 + n) % models.length],
        p_tokens_used: 900 + ((day * 577 + n * 1_301) % 4_200) + day * 60,
      });
    }
    // sold to them by hand, and its money earned as they use it
    if (day === 8) {
      const sale = { p_cost_basis_cents: 1_900, p_currency: "usd", p_priority: 10 };
      await trial.serve("grant_tokens", {
        p_user_id: mira.id,
        p_tokens: 100_000,
        p_grant_type: "purchase",
        ...sale,
      });
    }
    await db.admin.query("select tokenbook.advance_test_clock($1, '1 day')", [mira.id]);
  }
  await trial.serve("grant_tokens", {
    p_user_id: mira.id,
    p_tokens: 50_000,
    p_grant_type: "trial",
    p_reason: "sorry for Tuesday",
  });
  await trial.serve("reserve_tokens", {
    p_user_id: mira.id,
    p_tokens: 4_000,
    p_action_type: "chat_conversation",
  });
  await trial.serve("create_token_payment", { p_user_id: mira.id, p_pack_type: "pack_500k", p_quantity: 2 });
  await trial.serve("create_token_payment", { p_user_id: others[1]!.id, p_pack_type: "pack_500k" });
  await trial.serve("set_token_account_state", {
    p_user_id: others[4]!.id,
    p_state: "frozen",
    p_reason: "chargeback",
  });
  await aCatalogue(trial);
  const broken = await trial.person("noor@example.com");
  await trial.serve("grant_tokens", { p_user_id: broken.id, p_tokens: 60_000 });
  for (const tokens of [2_000, 5_500]) {
    await trial.serve("track_token_usage", {
      p_user_id: broken.id,
      p_action_type: "chat_conversation",
      p_model_used: "gpt-4",
      p_tokens_used: tokens,
    });
  }
  // a use that was written down by hand, and never paid
  await db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, success, created_at)
     values ($1, 'chat_conversation', 'gpt-4', 12500, true, clock_timestamp())`,
    [broken.id],
  );
  await someArrived(trial);
  return { mira, broken, others };
}

/** What is sold, and what uses cost: planned and in force, by hand and from a list. */
async function aCatalogue(trial: Trial): Promise<void> {
  const why = { p_reason: "the year's prices" };
  const rate = (p_model_pattern: string, p_rate: object, p_valid_from?: string) =>
    trial.serve("set_token_model_rate", {
      p_model_pattern,
      p_rate,
      ...why,
      ...(p_valid_from && { p_valid_from }),
    });
  await rate("gpt-4o-mini*", { tokens_per_input: 0.25, tokens_per_output: 1 });
  await rate("claude-*", {
    tokens_per_input: 1.5,
    tokens_per_output: 6,
    tokens_per_cached: 0.2,
    markup_percent: 10,
  });
  await rate("*", { tokens_per_image: 5_000, markup_percent: 5 });
  await rate("claude-*", { markup_percent: 15 }, "2030-01-01T00:00:00Z");
  const prices = { "gpt-4": [3_000, 6_000], "gpt-4o-mini": [15, 60], "claude-sonnet-4": [300, 1_500] };
  for (const [p_model, [input, output]] of Object.entries(prices)) {
    await trial.serve("set_token_model_price", {
      p_model,
      p_price: { input_cents_per_million: input, output_cents_per_million: output },
      p_source: p_model === "gpt-4o-mini" ? "synced" : "manual",
      ...why,
    });
  }
  for (const [p_name, p_tokens, p_max_redemptions] of [
    ["Spring sale", 20_000, 500],
    ["Sorry for the outage of Tuesday", 50_000, 1],
    ["Meetup in Lisbon", 10_000, 80],
  ]) {
    await trial.serve("create_token_code", { p_name, p_tokens, p_max_redemptions });
  }
  await trial.serve("set_token_pack", {
    p_pack_type: "pack_5m",
    p_pack: {
      name: "Five millions",
      tokens: 5_000_000,
      price_cents: 7_900,
      lifetime_days: 365,
      is_offered: false,
    },
    ...why,
  });
}

/** Rules of alerts, and endpoints: one that answers no more. */
async function whoIsTold(trial: Trial): Promise<void> {
  const rule = (p_rule: string, p_kind: string, more: object) =>
    trial.serve("set_token_alert_rule", { p_rule, p_kind, ...more });
  await rule("low", "dropped", { p_threshold_percent: 20, p_notify_recovered: true, p_for_everyone: true });
  await rule("low", "dropped", { p_threshold_tokens: 50_000, p_plan_type: "professional" });
  await rule("ends", "expiring_soon", { p_hours: 72, p_for_everyone: true });
  await trial.serve("set_token_webhook_endpoint", {
    p_name: "crm",
    p_url: "https://crm.example.com/hooks/5d1c",
    p_kinds: ["token_payment.approved", "token_plan.changed", "token_account.frozen"],
  });
  await trial.serve("set_token_webhook_endpoint", {
    p_name: "support",
    p_url: "https://support.example.com/in",
    p_kinds: ["token_alert.dropped", "token_account.frozen"],
  });
}

/** What became of what was sent by now. */
async function someArrived(trial: Trial): Promise<void> {
  await trial.stack.db.admin.query(`
    update tokenbook.webhook_deliveries
       set status = case when endpoint = 'crm' and id % 7 <> 0 then 'delivered' else 'given_up' end,
           attempts = case when endpoint = 'crm' and id % 7 <> 0 then 1 else 12 end,
           last_error = case when endpoint = 'crm' and id % 7 <> 0 then null else 'HTTP 503' end,
           next_attempt_at = null, settled_at = clock_timestamp()
     where id % 4 <> 0`);
}
