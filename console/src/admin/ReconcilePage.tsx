import { Badge, Button, Grid, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { IconChevronLeft, IconTool } from "@tabler/icons-react";
import { useState } from "react";
import type { Reconciliation } from "tokenbook";
import { planRepair, type Repair } from "tokenbook/admin";
import { TokenbookProvider, useTokenBalance, useTokenbook } from "tokenbook/react";
import { Fresh } from "../data/Fresh.tsx";
import { format, humanized } from "../format.ts";
import { Fact } from "../parts/Fact.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { PageName } from "../parts/PageName.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { isolated, Theirs } from "../parts/Theirs.tsx";
import { useSession } from "../session.tsx";
import { ActDialog } from "./ActDialog.tsx";
import { AdminLink } from "./AdminLink.tsx";
import { Outcome } from "./GiveDialogs.tsx";
import { previewOf } from "./preview.ts";
import { PreviewTable } from "./PreviewTable.tsx";
import { useAdmin, useReconciliation, useReplay, useUser } from "./queries.ts";
import classes from "./Books.module.css";

type Bookable = Extract<Repair, { key: string }>;

/** One user's books against the records: what is off, why, and what would put it right. */
export function ReconcilePage({ userId }: { userId: string }) {
  const { supabase } = useSession();
  const { data: user } = useUser(userId);
  const { data, error, refetch } = useReconciliation(userId);
  // what was shown stays what the dialog is about, though the page behind it is read again
  const [repairing, setRepairing] = useState<Bookable | null>(null);
  const plan = data === undefined ? undefined : planRepair(data);
  return (
    <TokenbookProvider supabase={supabase} userId={userId} live={false}>
      <Fresh />
      <Stack gap="md">
        <div>
          <AdminLink path="books">
            <Group gap={2} component="span" mb="xs">
              <IconChevronLeft size={14} aria-hidden />
              All books
            </Group>
          </AdminLink>
          <Group justify="space-between" gap="sm">
            <PageName name={user && `Books of ${isolated(user.email ?? userId)}`} className="words">
              <AdminLink path={`users/${userId}`} size="lg" fw={600} c="var(--mantine-color-text)">
                <Theirs>{user?.email ?? userId}</Theirs>
              </AdminLink>
            </PageName>
            {plan !== undefined && "key" in plan && (
              <Button
                size="xs"
                leftSection={<IconTool size={14} aria-hidden />}
                onClick={() => setRepairing(plan)}
              >
                Repair
              </Button>
            )}
          </Group>
        </div>
        {repairing !== null && (
          <RepairDialog userId={userId} plan={repairing} close={() => setRepairing(null)} />
        )}
        {data === undefined ? (
          error === null ? (
            <Skeleton height="20rem" />
          ) : (
            <Refused error={error} retry={() => void refetch()} />
          )
        ) : (
          <>
            <Sums
              found={data}
              why={plan !== undefined && "why" in plan ? whyNot(data, plan.why) : undefined}
            />
            <Grid gap="md">
              <Grid.Col span={{ base: 12, md: 7 }}>
                <Findings found={data} />
              </Grid.Col>
              <Grid.Col span={{ base: 12, md: 5 }}>
                <Formula found={data} />
              </Grid.Col>
            </Grid>
          </>
        )}
        <Replay userId={userId} />
      </Stack>
    </TokenbookProvider>
  );
}

/** Why there is no button that repairs it; undefined: there is nothing to repair. */
function whyNot({ findings }: Reconciliation, why: string): string | undefined {
  if (findings.length === 0) return undefined;
  return findings.some(({ is_repairable }) => is_repairable)
    ? `No adjustment is booked: ${why}.`
    : "No adjustment repairs it. What to do is said below.";
}

function Sums({ found, why }: { found: Reconciliation; why: string | undefined }) {
  const { current_remaining, expected_remaining, remaining_difference, cost_difference, used_difference } =
    found;
  return (
    <Section title="Balance and records">
      <Group component="dl" gap="lg" className={classes["facts"]!}>
        <Fact name="Books have">{format.tokens(current_remaining)}</Fact>
        <Fact name="Records say">{format.tokens(expected_remaining)}</Fact>
        <Fact name="Difference">
          <span data-testid="difference">{format.change(remaining_difference)}</span>
        </Fact>
        <Fact name="Difference in use">{format.change(used_difference)}</Fact>
        <Fact name="Difference in cost">{format.price(cost_difference, "USD")}</Fact>
      </Group>
      {why !== undefined && (
        <Text size="sm" c="dimmed" mt="md">
          {why}
        </Text>
      )}
    </Section>
  );
}

function Findings({ found }: { found: Reconciliation }) {
  return (
    <Section title="What is off" h="100%">
      {found.findings.length === 0 ? (
        <Nothing title="Nothing">
          {found.used_difference === 0 && found.cost_difference === 0
            ? "Books and records agree."
            : "The balance is what the records say. The difference in use or cost is no fault to repair: an adjustment corrects the balance, and leaves what was counted and recorded before it as it was."}
        </Nothing>
      ) : (
        <Stack gap="sm">
          {found.findings.map(({ scenario, cause, tokens, cents, since, advice, is_repairable }, n) => (
            <div key={n} className={classes["finding"]}>
              <Group justify="space-between" gap="xs">
                <Text size="sm" fw={600}>
                  {humanized(scenario)}
                </Text>
                <Text size="sm" fw={500} className="number">
                  {cents === undefined ? `${format.tokens(tokens)} tokens` : format.price(cents, "USD")}
                </Text>
              </Group>
              <Text size="sm" className="words">
                {humanized(cause)}
                {since !== null && `, since ${format.brief(since)}`}.
              </Text>
              <Text size="sm" c="dimmed" className="words">
                {advice}
              </Text>
              {!is_repairable && (
                <Badge size="sm" variant="light" color="gray" tt="none" c="var(--mantine-color-text)" mt={4}>
                  No adjustment repairs it
                </Badge>
              )}
            </div>
          ))}
        </Stack>
      )}
    </Section>
  );
}

/** The lines of the formula, in its order, each with its sign. */
const lines = [
  ["start", 1],
  ["granted", 1],
  ["admin_granted", 1],
  ["tokens_used", -1],
  ["admin_deducted", -1],
  ["expired", -1],
  ["clawed_back", -1],
  ["other", 1],
  ["reserved", -1],
] as const;

/** How the records come to what they say; what is nothing is left out. */
function Formula({ found }: { found: Reconciliation }) {
  const shown = lines.flatMap(([name, sign]) => {
    const tokens = found.formula[name];
    return typeof tokens === "number" && tokens !== 0 ? [[name, sign * tokens] as const] : [];
  });
  return (
    <Section title="How the records come to it" h="100%">
      <Table verticalSpacing={4} horizontalSpacing="xs" className="plain">
        <Table.Tbody>
          {shown.map(([name, tokens]) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" fw={400}>
                {humanized(name)}
              </Table.Th>
              <Table.Td className="number">{format.change(tokens)}</Table.Td>
            </Table.Tr>
          ))}
          <Table.Tr>
            <Table.Th scope="row">Records say</Table.Th>
            <Table.Td className="number" fw={600}>
              {format.tokens(found.expected_remaining)}
            </Table.Td>
          </Table.Tr>
        </Table.Tbody>
      </Table>
    </Section>
  );
}

function Replay({ userId }: { userId: string }) {
  const { data, error, refetch } = useReplay(userId);
  return (
    <Section title="Grant by grant, replayed">
      {data === undefined ? (
        error === null ? (
          <Skeleton height="6rem" />
        ) : (
          <Refused error={error} retry={() => void refetch()} />
        )
      ) : data.length === 0 ? (
        <Nothing title="They have no grants" />
      ) : (
        <Table
          verticalSpacing={6}
          horizontalSpacing="xs"
          className={`plain ${classes["table"]}`}
          data-testid="replay"
        >
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Grant</Table.Th>
              <Table.Th scope="col" className="number" visibleFrom="sm">
                Granted
              </Table.Th>
              <Table.Th scope="col" className="number">
                Exact
              </Table.Th>
              <Table.Th scope="col" className="number">
                Stored
              </Table.Th>
              <Table.Th scope="col" className="number">
                Difference
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {data.map((row) => (
              <Table.Tr key={row.grant_id ?? "none"}>
                <Table.Th scope="row" fw={400}>
                  <span className="words">
                    {row.grant_id === null
                      ? `Paid by no grant: ${format.tokens(row.uncovered ?? 0)}`
                      : `${humanized(row.grant_type ?? "")}${row.granted_at === null ? "" : ` of ${format.day(row.granted_at)}`}`}
                  </span>
                </Table.Th>
                <Figure tokens={row.tokens_granted} isWide />
                <Figure tokens={row.exact} />
                <Figure tokens={row.stored} />
                <Table.Td className="number" fw={row.difference === 0 ? 400 : 600}>
                  {row.difference === null ? "" : format.change(row.difference)}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Section>
  );
}

function Figure({ tokens, isWide = false }: { tokens: number | null; isWide?: boolean }) {
  return (
    <Table.Td className="number" c="dimmed" visibleFrom={isWide ? "sm" : undefined}>
      {tokens === null ? "" : format.tokens(tokens)}
    </Table.Td>
  );
}

/** The adjustment that settles all that is off; computed anew before it is booked, and booked once, however many admins press. */
function RepairDialog({ userId, plan, close }: { userId: string; plan: Bookable; close: () => void }) {
  const { delta, reason } = plan;
  const books = useTokenbook();
  const admin = useAdmin();
  const { data: balance } = useTokenBalance();
  return (
    <ActDialog
      title="Repair the balance"
      verb="Book it"
      isReady
      close={close}
      act={async () => {
        const now = planRepair(await admin.reconcile(userId));
        if (!("key" in now) || now.delta !== delta) {
          return (
            <Text size="sm">The books have moved on meanwhile, and nothing was booked. Look again.</Text>
          );
        }
        const done = await books.adjust(now.delta, {
          reason: now.reason,
          idempotencyKey: now.key,
          metadata: now.metadata as Record<string, unknown>,
        });
        if (!done.success) {
          return <Text size="sm">Tokens were spent meanwhile, and nothing was booked. Look again.</Text>;
        }
        return (
          <Outcome
            change={now.delta}
            remaining={done.tokens_remaining}
            entry={done.transaction_id}
            isRepeated={done.replayed}
          />
        );
      }}
    >
      <Text size="sm" className="words">
        Books {format.change(delta)} tokens as “{reason}”. It settles everything that is off until now; the
        entry says what it was for.
      </Text>
      {balance !== undefined && (
        <PreviewTable
          preview={previewOf(balance, delta)}
          made={delta > 0 ? { tokens: delta, type: "admin", runsOut: "runs out after 365 days" } : undefined}
        />
      )}
    </ActDialog>
  );
}
