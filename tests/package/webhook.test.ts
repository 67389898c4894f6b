/** `verifyTokenWebhook` takes what the signer of deliver-webhooks signs, and nothing else. */
import { Webhook } from "standardwebhooks";
import { expect, test } from "vitest";
import { TokenWebhookError, verifyTokenWebhook } from "../../packages/tokenbook/src/client/index.ts";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const another = `whsec_${Buffer.alloc(32, 8).toString("base64")}`;
const alert = {
  type: "token_alert.dropped",
  timestamp: "2026-11-21T10:00:00.000Z",
  data: { user_id: null, alert_id: 4, kind: "dropped", rule: "niedrig: ü" },
};
const body = JSON.stringify(alert);

function signedAt(secondsAgo: number, ...secrets: string[]): Record<string, string> {
  const at = new Date(Date.now() - secondsAgo * 1000);
  return {
    "webhook-id": "alert_1_4",
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": secrets.map((it) => new Webhook(it).sign("alert_1_4", at, body)).join(" "),
  };
}

test("what is signed is read, from Headers and from Node's headers", async () => {
  const headers = signedAt(0, secret);
  expect(await verifyTokenWebhook(body, headers, secret)).toEqual(alert);
  expect(await verifyTokenWebhook(body, new Headers(headers), secret)).toEqual(alert);
});

test("while a secret changes, either side may have both", async () => {
  expect(await verifyTokenWebhook(body, signedAt(0, another, secret), secret)).toEqual(alert);
  expect(await verifyTokenWebhook(body, signedAt(0, secret), `${another} ${secret}`)).toEqual(alert);
});

test.each([
  ["another body", body.replace("4", "5"), {}],
  ["another id", body, { "webhook-id": "alert_1_5" }],
  ["no id", body, { "webhook-id": "" }],
  ["no signature", body, { "webhook-signature": "" }],
  ["a signature that is not base64", body, { "webhook-signature": "v1,?" }],
  ["a signature of another secret", body, signedAt(0, another)],
  ["a time that is none", body, { "webhook-timestamp": "NaN" }],
  ["a time more than 5 minutes ago", body, signedAt(310, secret)],
  ["a time more than 5 minutes ahead", body, signedAt(-310, secret)],
])("%s is refused", async (_, text, headers) => {
  const refused = verifyTokenWebhook(text, { ...signedAt(0, secret), ...headers }, secret);
  await expect(refused).rejects.toBeInstanceOf(TokenWebhookError);
});

test.each(["", "whsec_", "whsec_c2hvcnQ=", secret.slice(6)])("a secret %j is none", async (none) => {
  await expect(verifyTokenWebhook(body, signedAt(0, secret), none)).rejects.toBeInstanceOf(TypeError);
});
