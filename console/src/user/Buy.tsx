import { Badge, Button, Group, Skeleton, Stack, Tabs, Text } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { useTokenbook, useTokenQueries } from "tokenbook/react";
import { usePayments, usePlans, useSubscription } from "../data/queries.ts";
import { format, humanized } from "../format.ts";
import { newKey } from "../key.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import classes from "./Buy.module.css";

/** What can be bought: a pack or a plan that a payment provider has a price for, at its page; others by asking. */
type Offer = { planType: string } | { packType: string };

export function Buy() {
  const books = useTokenbook();
  const packs = useQuery(useTokenQueries().packs());
  const plans = usePlans();
  const current = useSubscription().data?.plan_type ?? null;
  const payments = usePayments();
  const keys = useRef(new Map<string, string>());
  const buy = useMutation({
    networkMode: "always",
    mutationFn: async ({ offer, isOnline }: { offer: Offer; isOnline: boolean }) => {
      // the same key until the outcome is known: a user who tries again after a lost answer does not ask twice
      const name = JSON.stringify(offer);
      const idempotencyKey = keys.current.get(name) ?? newKey();
      keys.current.set(name, idempotencyKey);
      if (!isOnline) {
        await books.payments.request({ ...offer, idempotencyKey });
        keys.current.delete(name);
        return;
      }
      const here = location.origin + location.pathname;
      const { url } = await books.checkout({ ...offer, idempotencyKey, successUrl: here, cancelUrl: here });
      keys.current.delete(name);
      location.assign(url);
    },
  });
  const waiting = payments.data?.filter(({ status }) => status === "pending") ?? [];
  const offered = plans.data?.filter(
    (plan) => plan.is_offered && plan.price_cents > 0 && plan.plan_type !== current,
  );
  const isAsking = (type: string) =>
    buy.isPending &&
    ("packType" in buy.variables.offer ? buy.variables.offer.packType : buy.variables.offer.planType) ===
      type;

  const row = (key: string, name: string, tokens: number, price: string, offer: Offer, isOnline: boolean) => {
    const verb = isOnline ? "Buy" : "Request";
    return (
      <Group key={key} justify="space-between" wrap="nowrap" gap="sm" className={classes["offer"]!}>
        <div>
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
          disabled={buy.isPending && !isAsking(key)}
          aria-label={`${verb} · ${price}, ${name}`}
          onClick={() => buy.mutate({ offer, isOnline })}
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
        {waiting.map((payment) => (
          <Group
            key={payment.id}
            justify="space-between"
            wrap="nowrap"
            gap="xs"
            className={classes["waiting"]!}
          >
            <Text size="sm">
              {humanized(payment.pack_type ?? payment.to_plan ?? "")}
              {", "}
              {format.price(payment.amount_cents, payment.currency)}
            </Text>
            <Badge variant="light" color="gray" flex="none" c="var(--mantine-color-text)">
              Waits for approval
            </Badge>
          </Group>
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
                pack.pack_type,
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
                plan.plan_type,
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

const cycles = { none: "", "28day": " / 28 days", monthly: " / month", annual: " / year" };
