import { Stack } from "@mantine/core";
import { Deliveries } from "./Deliveries.tsx";
import { Endpoints } from "./Endpoints.tsx";
import { PageName } from "../../parts/PageName.tsx";
import { Rules } from "./Rules.tsx";

/** When somebody is told of something, who is, and whether it arrived. */
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
