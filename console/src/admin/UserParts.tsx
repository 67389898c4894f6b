/** What there is about one user beside their balance and ledger. */
import { Badge, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { ListedPayment } from "tokenbook";
import { tokenKeys, useTokenBalance, useTokenbook, useTokenUser } from "tokenbook/react";
import { format, humanized } from "../format.ts";
import { More } from "../parts/More.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { UserLink } from "./UserLink.tsx";
import { usePaymentsOf, useUser } from "./queries.ts";
import classes from "./User.module.css";
import { usePlanName } from "./UsersPage.tsx";

interface OfUser {
  userId: string;
}

export function Plan({ userId }: OfUser) {
  const { data } = useUser(userId);
  const { data: balance } = useTokenBalance();
  const planName = usePlanName();
  if (data === undefined) {
    return (
      <Section title="Plan">
        <Skeleton height="6.5rem" />
      </Section>
    );
  }
  const { subscription } = data;
  const standing =
    subscription?.status === "past_due"
      ? "Payment is due"
      : subscription?.status === "paused"
        ? "Paused"
        : null;
  return (
    <Section
      title="Plan"
      actions={
        standing === null ? undefined : (
          <Badge variant="light" color="orange" tt="none" c="var(--mantine-color-text)">
            {standing}
          </Badge>
        )
      }
    >
      {subscription?.plan_type == null ? (
        <Nothing title={subscription === null ? "They never had a plan" : "Their plan has ended"} />
      ) : (
        <>
          <Text component="div" size="lg" fw={600} mb={4} className="words">
            {planName(subscription.plan_type)}
          </Text>
          <Stack component="dl" gap={6} className={classes["list"]!}>
            {balance?.tokens_limit != null && (
              <Row name="Limit, when last filled">{format.tokens(balance.tokens_limit)}</Row>
            )}
            {subscription.expires_at !== null && (
              <Row name={subscription.cancel_at !== null || !subscription.auto_renew ? "Ends" : "Renews"}>
                {format.day(subscription.expires_at)}
              </Row>
            )}
            {subscription.next_plan_type !== null && (
              <Row name="Then">{planName(subscription.next_plan_type)}</Row>
            )}
            {subscription.payment_method !== null && (
              <Row name="Paid by">{humanized(subscription.payment_method)}</Row>
            )}
          </Stack>
        </>
      )}
    </Section>
  );
}

/** Open holds: nothing to show is nothing shown. */
export function Holds({ userId }: OfUser) {
  const holds = useUser(userId).data?.holds ?? [];
  return (
    <Section title="Open holds" flex={1}>
      {holds.length === 0 ? (
        <Nothing title="None">Tokens that a running call has set aside are listed here.</Nothing>
      ) : (
        <Stack component="dl" gap="xs" className={classes["list"]!}>
          {holds.slice(0, 8).map(({ id, tokens, action_type, expires_at }) => (
            <Row
              key={id}
              name={
                <>
                  <span className="words">{humanized(action_type)}</span>
                  <Text component="span" size="xs" display="block">
                    runs out {format.until(expires_at)}
                  </Text>
                </>
              }
            >
              {format.tokens(tokens)}
            </Row>
          ))}
        </Stack>
      )}
      {holds.length > 8 && (
        <Text size="xs" c="dimmed" mt="xs">
          and {holds.length === 50 ? "at least " : ""}
          {format.tokens(holds.length - 8)} more
        </Text>
      )}
    </Section>
  );
}

/** The members who spend from the user's account. */
export function Team() {
  const books = useTokenbook();
  const userId = useTokenUser();
  const { data } = useQuery({
    queryKey: [...tokenKeys.user(userId), "team"],
    queryFn: ({ signal }) => books.team.members({ limit: 50, signal }),
  });
  const members = data?.members ?? [];
  if (members.length === 0) return null;
  return (
    <Section title="Team">
      <Stack component="dl" gap={6} className={classes["list"]!}>
        {members.map(({ member_id, since, until, tokens_used }) => (
          <Row
            key={`${member_id} ${since}`}
            name={
              <>
                <UserLink userId={member_id} />
                {until !== null && ", left"}
              </>
            }
          >
            {format.tokens(tokens_used)} used
          </Row>
        ))}
      </Stack>
    </Section>
  );
}

export const standings = {
  pending: "Waits",
  approved: "Approved",
  rejected: "Rejected",
  refunded: "Refunded",
};

/** What of a payment people ask for: what, how much, when, and what became of it. */
export function PaymentRow({ payment }: { payment: ListedPayment }) {
  const planName = usePlanName();
  const {
    status,
    pack_type,
    to_plan,
    quantity,
    amount_cents,
    currency,
    created_at,
    reason,
    provider,
    terms: { name },
  } = payment;
  const called = to_plan === null ? humanized(pack_type ?? "") : planName(to_plan);
  const what = typeof name === "string" ? name : called;
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400}>
        <span className={`words ${classes["reason"]}`}>
          <bdi>{what}</bdi>
          {quantity > 1 && ` × ${format.tokens(quantity)}`}
        </span>
        {reason !== null && (
          <Text size="xs" c="dimmed" className={`words ${classes["reason"]}`}>
            {reason}
          </Text>
        )}
      </Table.Th>
      <Table.Td className="number">{format.price(amount_cents, currency)}</Table.Td>
      <Table.Td c="dimmed" visibleFrom="sm">
        {humanized(provider)}
      </Table.Td>
      <Table.Td c="dimmed" visibleFrom="sm" className={classes["when"]!}>
        {format.brief(created_at)}
      </Table.Td>
      <Table.Td>{standings[status]}</Table.Td>
    </Table.Tr>
  );
}

export function PaymentHead() {
  return (
    <Table.Thead>
      <Table.Tr>
        <Table.Th scope="col">What</Table.Th>
        <Table.Th scope="col" className="number">
          Amount
        </Table.Th>
        <Table.Th scope="col" visibleFrom="sm">
          By
        </Table.Th>
        <Table.Th scope="col" visibleFrom="sm">
          Asked
        </Table.Th>
        <Table.Th scope="col">Status</Table.Th>
      </Table.Tr>
    </Table.Thead>
  );
}

export function Payments({ userId }: OfUser) {
  const payments = usePaymentsOf(userId);
  const { data, error, refetch } = payments;
  return (
    <Section title="Payments">
      {data === undefined ? (
        error === null ? (
          <Skeleton height="4rem" />
        ) : (
          <Refused error={error} retry={() => void refetch()} />
        )
      ) : data.length === 0 ? (
        <Nothing title="They have paid nothing, and asked for nothing" />
      ) : (
        <>
          <Table verticalSpacing={8} horizontalSpacing="xs" className="plain" data-testid="payments">
            <PaymentHead />
            <Table.Tbody>
              {data.map((payment) => (
                <PaymentRow key={payment.id} payment={payment} />
              ))}
            </Table.Tbody>
          </Table>
          <More of={payments}>More payments</More>
        </>
      )}
    </Section>
  );
}

export function Alerts({ userId }: OfUser) {
  const alerts = useUser(userId).data?.alerts ?? [];
  if (alerts.length === 0) return null;
  return (
    <Section title="What they were told">
      <Table verticalSpacing={6} horizontalSpacing="xs" className="plain">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Alert</Table.Th>
            <Table.Th scope="col">Rule</Table.Th>
            <Table.Th scope="col">When</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {alerts.slice(0, 10).map(({ id, kind, rule, created_at }) => (
            <Table.Tr key={id}>
              <Table.Th scope="row" fw={400}>
                {humanized(kind)}
              </Table.Th>
              <Table.Td className="words">{rule}</Table.Td>
              <Table.Td c="dimmed">{format.brief(created_at)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Section>
  );
}

function Row({ name, children }: { name: ReactNode; children: ReactNode }) {
  return (
    <Group justify="space-between" gap="xs" wrap="nowrap">
      <Text component="dt" size="sm" c="dimmed">
        {name}
      </Text>
      <Text component="dd" m={0} size="sm" fw={500} className="number">
        {children}
      </Text>
    </Group>
  );
}
