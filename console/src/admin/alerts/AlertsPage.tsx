import { Stack, VisuallyHidden } from "@mantine/core";
import { Deliveries } from "./Deliveries.tsx";
import { Endpoints } from "./Endpoints.tsx";
import { Rules } from "./Rules.tsx";

/** When an alert is raised, where it is sent, and whether it arrived. */
export function AlertsPage() {
  return (
    <Stack gap="md">
      <VisuallyHidden component="h1">Alerts</VisuallyHidden>
      <Rules />
      <Endpoints />
      <Deliveries />
    </Stack>
  );
}
