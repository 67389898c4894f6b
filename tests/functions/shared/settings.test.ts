/** What the edge functions make of their settings, called without a server: Deno's environment is a map here. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { requiredSetting, setting } from "../../../supabase/functions/_shared/setting.ts";
import { receiver } from "../../../supabase/functions/deliver-alerts/receiver.ts";
import { paypalApi } from "../../../supabase/functions/paypal-webhook/api.ts";

afterEach(() => void vi.unstubAllGlobals());

const set = (settings: Record<string, string>) =>
  vi.stubGlobal("Deno", { env: new Map(Object.entries(settings)) });

/** How there can be none of it. */
const none: [string, Record<string, string>][] = [
  ["unset", {}],
  ["empty", { SECRET: "" }],
  ["blank", { SECRET: "  " }],
  ["a line's end", { SECRET: "\r\n" }],
];

describe("a setting", () => {
  test.each(none)("that is %s is none, and where there must be one the error names it", (_, settings) => {
    set(settings);
    expect(setting("SECRET")).toBeUndefined();
    expect(() => requiredSetting("SECRET")).toThrow("SECRET is not set");
  });

  test("is what is written, without blanks around it", () => {
    set({ SECRET: " two words\n" });
    expect([setting("SECRET"), requiredSetting("SECRET")]).toEqual(["two words", "two words"]);
  });
});

describe("the receiver of alerts", () => {
  const address = { ALERT_WEBHOOK_URL: "https://example.com/alerts" };
  const secret = { ALERT_WEBHOOK_SECRET: `whsec_${"c2VjcmV0".repeat(4)}` };

  test.each([
    ["an address and a secret", { ...address, ...secret }],
    ["an address on this machine", { ...secret, ALERT_WEBHOOK_URL: "http://127.0.0.1:5000/" }],
    [
      "two secrets",
      { ...address, ALERT_WEBHOOK_SECRET: Array(2).fill(secret.ALERT_WEBHOOK_SECRET).join(" ") },
    ],
  ])("is there with %s", (_, settings) => {
    set(settings);
    expect(receiver()).toEqual({ send: expect.any(Function) });
  });

  test.each([
    ["no address", { ...secret, ALERT_WEBHOOK_URL: "" }, "ALERT_WEBHOOK_URL is not set"],
    [
      "an address that everyone can read",
      { ...secret, ALERT_WEBHOOK_URL: "http://example.com/tokens" },
      "ALERT_WEBHOOK_URL is not an https address",
    ],
    [
      "an address that is none",
      { ...secret, ALERT_WEBHOOK_URL: "tokens" },
      "ALERT_WEBHOOK_URL is not an https address",
    ],
    ["no secret", { ...address, ALERT_WEBHOOK_SECRET: " " }, "ALERT_WEBHOOK_SECRET is not set"],
    [
      "a short secret",
      { ...address, ALERT_WEBHOOK_SECRET: "whsec_c2VjcmV0" },
      "ALERT_WEBHOOK_SECRET is not whsec_ and at least 24 bytes in base64",
    ],
    [
      "a secret of another form",
      { ...address, ALERT_WEBHOOK_SECRET: "thirty-two bytes of a test secret" },
      "ALERT_WEBHOOK_SECRET is not whsec_ and at least 24 bytes in base64",
    ],
  ])("is not there with %s, and the error does not say what was set", (_, settings, error) => {
    set(settings);
    // the whole message
    expect(receiver).toThrow(new RegExp(`^${error}(: see supabase/functions/.env.example)?$`));
  });
});

describe("PayPal's API", () => {
  const settings = {
    PAYPAL_WEBHOOK_ID: "webhook",
    PAYPAL_CLIENT_ID: "client",
    PAYPAL_CLIENT_SECRET: "secret of the client",
  };

  test("is there with its three settings", () => {
    set(settings);
    expect(paypalApi()).toMatchObject({ webhookId: "webhook" });
  });

  test.each(Object.keys(settings))("is not there without %s", (name) => {
    set({ ...settings, [name]: " " });
    expect(paypalApi).toThrow(`${name} is not set`);
  });
});
