import { Stack, VisuallyHidden } from "@mantine/core";
import { Deliveries } from "./Deliveries.tsx";
import { Endpoints } from "./Endpoints.tsx";
import { Rules } from "./Rules.tsx";

/** When somebody is told of something, who is, and whether it arrived. */
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
