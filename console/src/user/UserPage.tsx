import { Grid, Stack } from "@mantine/core";
import { Balance } from "./Balance.tsx";
import { Buy } from "./Buy.tsx";
import { Grants } from "./Grants.tsx";
import { Ledger } from "./Ledger.tsx";
import { Notices } from "./Notices.tsx";
import { Plan } from "./Plan.tsx";
import { PageName } from "../parts/PageName.tsx";
import { Usage } from "./Usage.tsx";

/** A user's own books. */
export function UserPage() {
  return (
    <Stack gap="md">
      <PageName name="Your tokens" />
      <Notices />
      <Grid gap="md" align="stretch">
        <Grid.Col span={{ base: 12, md: 8 }}>
          <Stack gap="md" h="100%">
            <Balance />
            <Grants />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 4 }}>
          <Stack gap="md" h="100%">
            <Plan />
            <Buy />
          </Stack>
        </Grid.Col>
      </Grid>
      <Usage />
      <Ledger />
    </Stack>
  );
}
