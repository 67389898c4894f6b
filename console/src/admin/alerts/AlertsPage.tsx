import { Stack } from "@mantine/core";
import { Deliveries } from "./Deliveries.tsx";
import { Endpoints } from "./Endpoints.tsx";
import { PageName } from "../../parts/PageName.tsx";
import { Rules } from "./Rules.tsx";

/** When an alert is raised, where it is sent, and whether it arrived. */
export function AlertsPage() {
  return (
    <Stack gap="md">
      <PageName name="Alerts" />
      <Rules />
      <Endpoints />
      <Deliveries />
    </Stack>
  );
}
