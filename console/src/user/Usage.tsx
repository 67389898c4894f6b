import { Grid, SegmentedControl, Skeleton, Table, Text } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { type ComponentProps, type ReactNode, useMemo } from "react";
import type { UsageReport } from "tokenbook";
import { useTokenHistory, useTokenUsage } from "tokenbook/react";
import { dayMs, format } from "../format.ts";
import { Nothing } from "../parts/Nothing.tsx";
import { usePart } from "../parts/part.ts";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { Dotted } from "../parts/Dotted.tsx";
import { colourOf } from "./series.ts";
import { useUserSearch } from "./search.ts";
import { byDay, byModel } from "./usage-sums.ts";
import classes from "./Usage.module.css";

type ChartProps = ComponentProps<typeof import("./UsageChart.tsx").default>;

/** The charts are as large as the rest of the page together: it does not wait for them. */
function UsageChart(props: ChartProps) {
  const { Part, error } = usePart<ChartProps>("chart", () => import("./UsageChart.tsx"));
  if (Part !== undefined) return <Part {...props} />;
  return error === null ? <Skeleton height={220} /> : <Refused error={error} />;
}

/** What a user used, by day and by model. */
export function Usage() {
  const [{ days = 30 }] = useUserSearch();
  const from = useFirstDay(days);
  const { data = [], hasNextPage } = useTokenHistory({ limit: 50 });
  const spent = data
    .filter(({ entry_type, created_at }) => entry_type === "deduction" && created_at >= from)
    .reduce((sum, { tokens, debt_change }) => sum - tokens + debt_change, 0);
  const isMore = hasNextPage && (data.at(-1)?.created_at ?? "") >= from;
  return (
    <UsageOf title="Usage" report={useTokenUsage({ bucket: "day", by: "model", from })}>
      {spent > 0 && (
        <>
          {isMore ? "At least " : ""}
          {format.tokens(spent)} tokens were spent in that time: they are in the ledger. They are not here
          because the app did not record a use with them.
        </>
      )}
    </UsageOf>
  );
}

/** When the first of so many days began, that of today among them. Days of the report are of UTC. */
export function useFirstDay(days: number): string {
  const today = Math.floor(Date.now() / dayMs);
  return useMemo(() => new Date((today - days + 1) * dayMs).toISOString(), [today, days]);
}

interface UsageOfProps {
  title: string;
  /** By day and by model, of as many days as the address says. */
  report: Pick<UseQueryResult<UsageReport, Error>, "data" | "error" | "refetch">;
  /** Where there is none: what else was spent, and why it is not here. */
  children?: ReactNode;
}

/** A chart of the days, and a table of the models. */
export function UsageOf({ title, report: { data, error, refetch }, children }: UsageOfProps) {
  const [{ days = 30 }, change] = useUserSearch();
  const from = useFirstDay(days);
  const rows = data?.rows ?? [];
  const models = useMemo(() => byModel(rows), [rows]);
  const total = models.reduce((sum, { tokens }) => sum + tokens, 0);
  const hasCost = models.some(({ cents }) => cents !== null);
  return (
    <Section
      title={title}
      actions={
        <SegmentedControl
          size="xs"
          aria-label="How many days"
          value={String(days)}
          data={["7", "30", "90"].map((value) => ({ value, label: `${value} days` }))}
          onChange={(value) => change({ days: Number(value) })}
        />
      }
    >
      <div className={classes["place"]}>
        {error !== null && data === undefined ? (
          <Refused error={error} retry={() => void refetch()} />
        ) : data === undefined ? (
          <Skeleton height={220} />
        ) : models.length === 0 ? (
          <Nothing title={`No use was tracked in the last ${days} days`}>
            {children ||
              "Calls of models appear here when the app tracks them. What else is spent is in the ledger."}
          </Nothing>
        ) : (
          <Grid gap="lg">
            <Grid.Col span={{ base: 12, md: 8 }}>
              <UsageChart days={byDay(rows, from, days)} models={models.map(({ model }) => model)} />
            </Grid.Col>
            <Grid.Col span={{ base: 12, md: 4 }}>
              <Table verticalSpacing={6} horizontalSpacing="xs" className="plain">
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th scope="col">Model</Table.Th>
                    <Table.Th scope="col" className="number">
                      Calls
                    </Table.Th>
                    <Table.Th scope="col" className="number">
                      Tokens
                    </Table.Th>
                    {hasCost && (
                      <Table.Th scope="col" className="number">
                        Cost
                      </Table.Th>
                    )}
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {models.slice(0, 8).map(({ model, uses, tokens, cents }, place) => (
                    <Table.Tr key={model}>
                      <Table.Th scope="row" fw={400}>
                        <Dotted colour={colourOf(place)}>{model}</Dotted>
                      </Table.Th>
                      <Table.Td className="number" c="dimmed">
                        {format.tokens(uses)}
                      </Table.Td>
                      <Table.Td className="number">
                        {format.tokens(tokens)}
                        <Text size="xs" c="dimmed">
                          {format.percent(total === 0 ? 0 : tokens / total)}
                        </Text>
                      </Table.Td>
                      {hasCost && (
                        <Table.Td className="number">
                          {cents === null ? "" : format.price(cents, "USD")}
                        </Table.Td>
                      )}
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
              {models.length > 8 && (
                <Text size="xs" c="dimmed" px="xs">
                  and {format.tokens(models.length - 8)} more models
                </Text>
              )}
              <Text size="xs" c="dimmed" mt="xs">
                Tracked uses. What is spent without one is in the ledger alone.
              </Text>
            </Grid.Col>
          </Grid>
        )}
      </div>
    </Section>
  );
}
