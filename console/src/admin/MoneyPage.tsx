import { Group, Skeleton, Stack, Table, Text, Title } from "@mantine/core";
import type { RevenueSums } from "tokenbook";
import { format } from "../format.ts";
import { PageName } from "../parts/PageName.tsx";
import { Fact } from "../parts/Fact.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { Expiries } from "./Expiries.tsx";
import { FromReplica } from "./FromReplica.tsx";
import { useSession } from "../session.tsx";
import { useUserSearch } from "../user/search.ts";
import { UsageOf, useFirstDay } from "../user/Usage.tsx";
import { useEveryonesUsage, useRevenue } from "./queries.ts";
import classes from "./Money.module.css";

/** What was sold and what became of it, and what the models cost for it: by day. */
export function MoneyPage() {
  const [{ days = 30 }] = useUserSearch();
  const from = useFirstDay(days);
  const usage = useEveryonesUsage(from);
  return (
    <Stack gap="md">
      <PageName name="Money" />
      <FromReplica />
      <UsageOf title="Usage of everybody" report={usage}>
        Uses are counted that <code>track_token_usage</code> wrote, and captures with{" "}
        <code>p_model_used</code>. What else was spent is in each user’s ledger.
      </UsageOf>
      <Revenue from={from} days={days} />
      <Expiries days={days} />
    </Stack>
  );
}

function Revenue({ from, days }: { from: string; days: number }) {
  const { reads } = useSession();
  const { data, error, refetch } = useRevenue(from);
  return (
    <Section title="Revenue">
      {reads !== undefined && data !== undefined && (
        <Text size="sm" c="dimmed" mb="sm">
          Counted until {format.second(data.as_of)}: a replica counts nothing itself.
        </Text>
      )}
      {data === undefined ? (
        error === null ? (
          <Skeleton height="12rem" />
        ) : (
          <Refused error={error} retry={() => void refetch()} />
        )
      ) : data.totals.length === 0 ? (
        <Nothing title={`Nothing was sold in the last ${days} days, and nothing is owed`}>
          Payments, and grants with a cost basis, are counted here.
        </Nothing>
      ) : (
        <Stack gap="lg">
          {data.totals.map((sums) => (
            <Currency
              key={sums.currency}
              sums={sums}
              isNamed={data.totals.length > 1}
              rows={data.rows.filter(({ currency }) => currency === sums.currency).toReversed()}
            />
          ))}
        </Stack>
      )}
    </Section>
  );
}

interface CurrencyProps {
  sums: RevenueSums;
  isNamed: boolean;
  rows: (RevenueSums & { starts_at: string })[];
}

/** Each currency by itself: nobody knows what one is worth in another. */
function Currency({ sums, isNamed, rows }: CurrencyProps) {
  const money = (cents: number) => format.price(cents, sums.currency);
  return (
    <div>
      {isNamed && (
        <Title order={3} mb="xs">
          {sums.currency.toUpperCase()}
        </Title>
      )}
      <Group component="dl" gap="lg" className={classes["facts"]!}>
        <Fact name="Sold">{money(sums.sold_cents)}</Fact>
        <Fact name="Given back">{money(sums.refunded_cents)}</Fact>
        <Fact name="Earned by use">{money(sums.recognised_cents)}</Fact>
        <Fact name="Ended unused">{money(sums.breakage_cents)}</Fact>
        <Fact name="Still owed in tokens">{money(sums.closing_deferred_cents)}</Fact>
      </Group>
      {rows.length === 0 ? (
        <Text size="sm" c="dimmed" mt="md">
          Nothing has changed in these days.
        </Text>
      ) : (
        <Table
          mt="md"
          verticalSpacing={6}
          horizontalSpacing="xs"
          className={`plain ${classes["table"]}`}
          data-testid="revenue"
        >
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Day</Table.Th>
              <Table.Th scope="col" className="number">
                Sold
              </Table.Th>
              <Table.Th scope="col" className="number" visibleFrom="sm">
                Given back
              </Table.Th>
              <Table.Th scope="col" className="number">
                Earned
              </Table.Th>
              <Table.Th scope="col" className="number" visibleFrom="sm">
                Ended unused
              </Table.Th>
              <Table.Th scope="col" className="number">
                Owed
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row) => (
              <Table.Tr key={row.starts_at}>
                <Table.Th scope="row" fw={400}>
                  {format.bucket(row.starts_at)}
                </Table.Th>
                <Money cents={row.sold_cents} currency={row.currency} />
                <Money cents={row.refunded_cents} currency={row.currency} isWide />
                <Money cents={row.recognised_cents} currency={row.currency} />
                <Money cents={row.breakage_cents} currency={row.currency} isWide />
                <Money cents={row.closing_deferred_cents} currency={row.currency} />
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </div>
  );
}

/** Nothing is quieter than something. */
function Money({ cents, currency, isWide = false }: { cents: number; currency: string; isWide?: boolean }) {
  return (
    <Table.Td
      className="number"
      c={cents === 0 ? "dimmed" : undefined}
      visibleFrom={isWide ? "sm" : undefined}
    >
      {format.price(cents, currency)}
    </Table.Td>
  );
}
