/** Each public function is in the client, or is left out for a reason that is said here. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

const byProvider = "a webhook calls it, with what a payment provider told";
const byJobs = "scheduled jobs and the edge functions call it";
const byAdmins = "an admin's work at the console or the command line, not an app's";
const bySettings = "the project's settings, made once by a migration or the console";

const leftOut: Record<string, string> = {
  acknowledge_token_finding: byAdmins,
  arm_token_alerts: byJobs,
  check_token_installation: byAdmins,
  check_token_synchronization: byAdmins,
  checkpoint_token_ledger: byAdmins,
  claim_token_webhooks: byJobs,
  claim_token_top_ups: byJobs,
  expire_old_token_grants: byJobs,
  get_recent_token_usage: byAdmins,
  get_token_customer: "the edge function checkout asks for it",
  get_users_with_high_token_usage: byAdmins,
  get_users_with_low_token_balance: byAdmins,
  get_users_without_token_balance: byAdmins,
  list_token_changes: byAdmins,
  prepare_token_checkout: "the edge function checkout asks for it: books.checkout",
  record_token_payment_event: byProvider,
  record_token_subscription_event: byProvider,
  renew_token_subscription:
    "the code that charges for the period calls it, once a period: not safe to repeat by itself",
  restate_token_balances: byAdmins,
  reverse_token_restatement: byAdmins,
  set_token_burn_order: bySettings,
  set_token_customer: "the edge function checkout calls it",
  set_token_grant_type: bySettings,
  set_token_limit: bySettings,
  set_token_referral_policy: bySettings,
  set_token_subject: "the server of a project with other sign-ins calls it",
  set_token_trial_policy: bySettings,
  set_token_unknown_model_policy: bySettings,
  settle_token_webhook: byJobs,
  settle_token_top_up: byJobs,
  token_offer_now: "a column of token_payments, by its select",
  token_payment_disagrees: "a column of token_payments, by its select",
  token_payment_email: "a column of token_payments, by its select",
  tokens_used: "a column of token_transactions, by its select",
  verify_token_checkpoint: byAdmins,
};

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

/** The names of a block of declarations. */
const namesIn = (text: string, begin: string, indent: string) => {
  const block = text.slice(text.indexOf(begin)).split("\n");
  const end = block.findIndex((line, n) => n > 0 && line.startsWith(`${indent.slice(2)}}`));
  return block.slice(1, end).flatMap((line) => new RegExp(`^${indent}(\\w+): `).exec(line)?.[1] ?? []);
};

test("no function is forgotten, and none is listed that is not there or that the client has", () => {
  const all = namesIn(read("supabase/functions/_shared/database.types.ts"), "    Functions: {", "      ");
  const offered = namesIn(
    read("packages/tokenbook/src/client/answers.ts"),
    "export interface Answers {",
    "  ",
  );
  expect([all.length > 75, offered.length > 30]).toEqual([true, true]);
  expect([...offered, ...Object.keys(leftOut)].toSorted()).toEqual(all.toSorted());
});
