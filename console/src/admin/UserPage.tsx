import { Button, Grid, Group, Menu, Skeleton, Stack, Text } from "@mantine/core";
import { IconAdjustments, IconChevronLeft, IconDots, IconPlus } from "@tabler/icons-react";
import { useState } from "react";
import { TokenbookProvider, useTokenBalance } from "tokenbook/react";
import { Fresh } from "../data/Fresh.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Fact } from "../parts/Fact.tsx";
import { PageName } from "../parts/PageName.tsx";
import { Refused } from "../parts/Refused.tsx";
import { Section } from "../parts/Section.tsx";
import { Theirs } from "../parts/Theirs.tsx";
import { useSession } from "../session.tsx";
import { Grants } from "../user/Grants.tsx";
import { Ledger } from "../user/Ledger.tsx";
import { Usage } from "../user/Usage.tsx";
import { format } from "../format.ts";
import { AdminLink } from "./AdminLink.tsx";
import { AdjustDialog, GrantDialog } from "./GiveDialogs.tsx";
import { useUser } from "./queries.ts";
import { ForgetDialog, StateDialog } from "./StateDialogs.tsx";
import { Alerts, Holds, Payments, Plan, Team } from "./UserParts.tsx";
import { Standing } from "./UsersPage.tsx";
import classes from "./User.module.css";

/** One user, as an admin sees them. */
export function UserPage({ userId }: { userId: string }) {
  const { supabase } = useSession();
  const { data, error, refetch } = useUser(userId);
  return (
    <>
      <AdminLink path={""}>
        <Group gap={2} component="span" mb="xs">
          <IconChevronLeft size={14} aria-hidden />
          All users
        </Group>
      </AdminLink>
      {data === undefined && error !== null ? (
        <Refused error={error} retry={() => void refetch()} />
      ) : (
        // Realtime sends a client only its own user's row: for another user the page polls
        <TokenbookProvider supabase={supabase} userId={userId} live={false}>
          <Fresh />
          <OneUser userId={userId} />
        </TokenbookProvider>
      )}
    </>
  );
}

type Dialog = "grant" | "adjust" | "freeze" | "activate" | "forget";

function OneUser({ userId }: { userId: string }) {
  const { data } = useUser(userId);
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const close = () => setDialog(null);
  const name = data?.email ?? userId;
  const isFrozen = data?.state === "frozen";
  return (
    <Stack gap="md">
      <Group justify="space-between" gap="sm" className={classes["head"]!} mb={0}>
        <div className="words">
          <PageName name={data && name} className={`${classes["name"]} words`}>
            {data === undefined ? <Skeleton height="1.75rem" width="16rem" /> : <Theirs>{name}</Theirs>}
          </PageName>
          <Text size="xs" c="dimmed" className="words">
            {userId}
          </Text>
          {data !== undefined && <Standing user={data} />}
        </div>
        <Group gap="xs">
          {/* to nobody nothing is given */}
          {data?.is_user !== false && (
            <>
              <Button
                size="xs"
                leftSection={<IconPlus size={14} aria-hidden />}
                onClick={() => setDialog("grant")}
              >
                Grant
              </Button>
              <Button
                size="xs"
                variant="default"
                leftSection={<IconAdjustments size={14} aria-hidden />}
                onClick={() => setDialog("adjust")}
              >
                Adjust
              </Button>
            </>
          )}
          <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
            <Menu.Target>
              <Button size="xs" variant="default" px="xs" aria-label="More to do for this user">
                <IconDots size={16} aria-hidden />
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item onClick={() => setDialog(isFrozen ? "activate" : "freeze")}>
                {isFrozen ? "Make active again" : "Freeze"}
              </Menu.Item>
              <Menu.Item onClick={() => setDialog("forget")} c="var(--mantine-color-error)">
                Forget
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </Group>
      </Group>
      {dialog === "grant" && <GrantDialog close={close} />}
      {dialog === "adjust" && <AdjustDialog close={close} />}
      {dialog === "freeze" && <StateDialog to="frozen" close={close} />}
      {dialog === "activate" && <StateDialog to="active" close={close} />}
      {dialog === "forget" && <ForgetDialog userId={userId} name={name} close={close} />}
      <Grid gap="md" align="stretch">
        <Grid.Col span={{ base: 12, md: 8 }}>
          <Stack gap="md" h="100%">
            <Balance userId={userId} />
            <Grants whenNone="Grant some, or wait for what their plan gives next." />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 4 }}>
          <Stack gap="md" h="100%">
            <Plan userId={userId} />
            <Holds userId={userId} />
            <Team />
          </Stack>
        </Grid.Col>
      </Grid>
      <Payments userId={userId} />
      <Usage />
      <Ledger />
      <Alerts userId={userId} />
    </Stack>
  );
}

function Balance({ userId }: { userId: string }) {
  const { data: balance, error, refetch } = useTokenBalance();
  const { data: user } = useUser(userId);
  if (balance === undefined && error !== null) {
    return (
      <Section title="Balance">
        <Refused error={error} retry={() => void refetch()} />
      </Section>
    );
  }
  return (
    <Section title="Balance">
      <Text component="div" size="xl" fw={600} className={`number ${classes["figure"]}`}>
        {balance === undefined ? (
          <Skeleton height="2.4rem" width="14rem" maw="100%" />
        ) : (
          <output aria-label="Tokens that they can spend" data-testid="their-balance">
            {format.tokens(balance.total_active)}
          </output>
        )}
      </Text>
      <Group component="dl" className={classes["facts"]!} gap="md">
        <Fact name="Held for running calls">{balance && format.tokens(balance.total_reserved)}</Fact>
        <Fact name="Used, ever">{user && format.tokens(user.tokens_used)}</Fact>
        <Fact name="Ran out unspent">{balance && format.tokens(balance.total_expired)}</Fact>
        <Fact name="Known cost of their calls">{user && format.price(user.cost_cents, "USD")}</Fact>
        {balance !== undefined && balance.total_owed > 0 && (
          <Fact name="Owed">{format.tokens(balance.total_owed)}</Fact>
        )}
        <Fact name="Last activity">
          {user && (user.last_active_at === null ? "Never" : format.until(user.last_active_at))}
        </Fact>
      </Group>
      {balance?.payer_id !== undefined && (
        <Nothing title="They spend from their team’s account">
          <AdminLink path={`users/${balance.payer_id}`}>To the payer</AdminLink>
        </Nothing>
      )}
    </Section>
  );
}
