import { Badge, Button, Group, Skeleton, Stack, Tabs, Text } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import type { Payment } from "tokenbook";
import { useTokenbook, useTokenQueries } from "tokenbook/react";
import { usePayments, usePlans, useSubscription } from "../data/queries.ts";
import { dayMs, format, humanized } from "../format.ts";
import { newKey } from "../key.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import classes from "./Buy.module.css";
import { cycles, isFor, type Offer, typeOf } from "./offer.ts";
import { RequestDialog } from "./RequestDialog.tsx";

/** So long a rejection is shown, with its reason. */
const rejectedForMs = 30 * dayMs;

export function Buy() {
  const books = useTokenbook();
  const packs = useQuery(useTokenQueries().packs());
  const plans = usePlans();
  const current = useSubscription().data?.plan_type ?? null;
  const payments = usePayments();
  const keys = useRef(new Map<string, string>());
  const [requesting, request] = useState<Offer | null>(null);
  const buy = useMutation({
    networkMode: "always",
    mutationFn: async (offer: Offer) => {
      // the same key until the outcome is known: a user who tries again after a lost answer does not ask twice
      const name = typeOf(offer);
      const idempotencyKey = keys.current.get(name) ?? newKey();
      keys.current.set(name, idempotencyKey);
      const here = location.origin + location.pathname;
      const { url } = await books.checkout({ ...offer, idempotencyKey, successUrl: here, cancelUrl: here });
      keys.current.delete(name);
      location.assign(url);
    },
  });
  const waiting = payments.data?.filter(({ status }) => status === "pending") ?? [];
  const rejected = latelyRejected(payments.data ?? []);
  const offered = plans.data?.filter(
    (plan) => plan.is_offered && plan.price_cents > 0 && plan.plan_type !== current,
  );
  const isAsking = (type: string) => buy.isPending && typeOf(buy.variables) === type;

  const row = (name: string, tokens: number, price: string, offer: Offer, isOnline: boolean) => {
    const key = typeOf(offer);
    const isWaiting = !isOnline && waiting.some((payment) => isFor(payment, offer));
    const verb = isWaiting ? "Requested" : isOnline ? "Buy" : "Request";
    return (
      <Group key={key} justify="space-between" gap="sm" className={classes["offer"]!}>
        <div className={classes["name"]}>
          <Text size="sm" fw={500} className="words">
            {name}
          </Text>
          {!name.includes(format.tokens(tokens)) && (
            <Text size="xs" c="dimmed" className="number">
              {format.tokens(tokens)} tokens
            </Text>
          )}
        </div>
        <Button
          size="xs"
          variant="default"
          className={classes["price"]!}
          loading={isAsking(key)}
          disabled={isWaiting || (buy.isPending && !isAsking(key))}
          aria-label={`${verb} · ${price}, ${name}`}
          onClick={() => (isOnline ? buy.mutate(offer) : request(offer))}
        >
          {verb} · {price}
        </Button>
      </Group>
    );
  };

  return (
    <Section title="Get tokens" flex={1}>
      <Stack gap="sm">
        {buy.isError && <Refused error={buy.error} />}
        {requesting !== null && <RequestDialog offer={requesting} close={() => request(null)} />}
        {[...waiting, ...rejected].map((payment) => (
          <div key={payment.id} className={classes["waiting"]} data-testid="asked">
            <Group justify="space-between" gap="xs">
              <Text size="sm" className={`words ${classes["name"]}`}>
                {nameOf(payment)}
                {", "}
                {format.price(payment.amount_cents, payment.currency)}
              </Text>
              <Badge variant="light" color="gray" flex="none" c="var(--mantine-color-text)">
                {payment.status === "pending" ? "Waits for approval" : "Rejected"}
              </Badge>
            </Group>
            {payment.status === "rejected" && (
              <Text size="xs" c="dimmed" className="words">
                {format.day(payment.decided_at ?? payment.created_at)}
                {payment.reason !== null && `: ${payment.reason}`}
              </Text>
            )}
          </div>
        ))}
        <Tabs defaultValue="packs" keepMounted={false}>
          <Tabs.List>
            <Tabs.Tab value="packs">Packs</Tabs.Tab>
            <Tabs.Tab value="plans">Plans</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="packs" pt="xs">
            {packs.data === undefined && packs.error === null && <Skeleton height="6rem" />}
            {packs.error !== null && <Refused error={packs.error} retry={() => void packs.refetch()} />}
            {packs.data?.length === 0 && <Nothing title="No packs are sold here" />}
            {packs.data?.map((pack) =>
              row(
                pack.name,
                pack.tokens,
                format.price(pack.price_cents, pack.currency),
                { packType: pack.pack_type },
                pack.stripe_price_id !== null,
              ),
            )}
          </Tabs.Panel>
          <Tabs.Panel value="plans" pt="xs">
            {plans.error !== null && <Refused error={plans.error} retry={() => void plans.refetch()} />}
            {offered?.length === 0 && <Nothing title="There is no other plan" />}
            {offered?.map((plan) =>
              row(
                plan.name,
                plan.tokens_per_period ?? plan.tokens,
                `${format.price(plan.price_cents, plan.currency)}${cycles[plan.billing_cycle]}`,
                { planType: plan.plan_type },
                plan.stripe_price_id !== null,
              ),
            )}
          </Tabs.Panel>
        </Tabs>
      </Stack>
    </Section>
  );
}

/** As it was called when it was asked for. */
function nameOf({ terms, pack_type, to_plan, quantity }: Payment): string {
  const name = typeof terms["name"] === "string" ? terms["name"] : humanized(pack_type ?? to_plan ?? "");
  return quantity > 1 ? `${name} × ${format.tokens(quantity)}` : name;
}

/** What was rejected in the last days, and was not asked for again since. */
function latelyRejected(payments: Payment[]): Payment[] {
  const since = Date.now() - rejectedForMs;
  const named = ({ pack_type, to_plan }: Payment) => `${pack_type} ${to_plan}`;
  return payments.filter(
    (payment, place) =>
      payment.status === "rejected" &&
      Date.parse(payment.decided_at ?? payment.created_at) > since &&
      payments.findIndex((newest) => named(newest) === named(payment)) === place,
  );
}
