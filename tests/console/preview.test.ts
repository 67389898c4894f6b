/** What an admin is shown before a correction is booked. */
import { expect, test } from "vitest";
import { previewOf } from "../../console/src/admin/preview.ts";
import type { Grant, TokenBalance } from "../../packages/tokenbook/src/client/index.ts";

const grant = (id: string, tokens_remaining: number): Grant => ({
  id,
  grant_type: "plan",
  tokens_granted: 100,
  tokens_remaining,
  priority: 50,
  granted_at: "2026-11-01T00:00:00Z",
  expires_at: null,
  pays_for: null,
});
const balanceOf = (tokens: number[], its: Partial<TokenBalance> = {}): TokenBalance => ({
  user_id: "u",
  state: "active",
  total_active: tokens.reduce((sum, one) => sum + one, 0),
  total_expired: 0,
  total_reserved: 0,
  total_owed: 0,
  tokens_limit: null,
  plan_type: null,
  next_expiry: null,
  grants: tokens.map((left, n) => grant(String(n), left)),
  has_more_grants: false,
  ...its,
});
const changesOf = (balance: TokenBalance, delta: number) =>
  previewOf(balance, delta).changes.map(({ now, after }) => [now, after]);

test("what is taken comes from the grants in their order, and from no more of them than it needs", () => {
  expect(changesOf(balanceOf([30, 50, 20]), -60)).toEqual([
    [30, 0],
    [50, 20],
  ]);
  expect(changesOf(balanceOf([30, 50]), -30)).toEqual([[30, 0]]);
  expect(previewOf(balanceOf([30, 50]), -80)).toMatchObject({ now: 80, after: 0, missing: 0 });
});

test("what is not there is said to be missing, and changes nothing", () => {
  expect(previewOf(balanceOf([30]), -31)).toMatchObject({ changes: [], now: 30, after: 30, missing: 1 });
});

test("what is given repays a debt first", () => {
  const owing = balanceOf([], { total_owed: 40 });
  expect(previewOf(owing, 100)).toMatchObject({ now: 0, after: 60, repaid: 40 });
  expect(previewOf(owing, 10)).toMatchObject({ now: 0, after: 0, repaid: 10 });
});

test("beyond the grants that are known it says so", () => {
  const long = balanceOf([10, 10], { total_active: 50, has_more_grants: true });
  expect(previewOf(long, -35)).toMatchObject({ after: 15, missing: 0, isPartial: true });
  expect(previewOf(long, -20)).toMatchObject({ isPartial: false });
});
