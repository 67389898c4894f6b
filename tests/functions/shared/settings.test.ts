/** What the edge functions make of their settings, called without a server: Deno's environment is a map here. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { requiredSetting, setting } from "../../../supabase/functions/_shared/setting.ts";
import { sender } from "../../../supabase/functions/deliver-webhooks/sender.ts";
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

describe("what sends to an endpoint", () => {
  const endpoint = { url: "https://example.com/tokens", secret_setting: "TOKEN_WEBHOOK_SECRET_APP" };
  const secret = `whsec_${"c2VjcmV0".repeat(4)}`;

  test.each([
    ["a secret", secret],
    ["two secrets", `${secret} ${secret}`],
  ])("is there with %s", (_, value) => {
    set({ TOKEN_WEBHOOK_SECRET_APP: value, TOKEN_WEBHOOK_SECRET_CRM: "" });
    expect(sender(endpoint)).toEqual(expect.any(Function));
  });

  test.each([
    ["no secret", " ", "is not set"],
    ["a short secret", "whsec_c2VjcmV0", "is not whsec_ and at least 24 bytes in base64"],
    [
      "a secret of another form",
      "thirty-two bytes of a test secret",
      "is not whsec_ and at least 24 bytes in base64",
    ],
  ])("is not there with %s, and the error does not say what was set", (_, value, error) => {
    set({ TOKEN_WEBHOOK_SECRET_APP: value, TOKEN_WEBHOOK_SECRET_CRM: secret });
    // the whole message
    expect(() => sender(endpoint)).toThrow(
      new RegExp(`^TOKEN_WEBHOOK_SECRET_APP ${error}: see supabase/functions/.env.example$`),
    );
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
