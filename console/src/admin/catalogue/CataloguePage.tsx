import { Stack } from "@mantine/core";
import { Codes } from "./Codes.tsx";
import { Packs, Plans } from "./Offers.tsx";
import { Prices } from "./Prices.tsx";
import { PageName } from "../../parts/PageName.tsx";
import { ActionCosts, Rates } from "./Rates.tsx";

/** What there is to be had, and what it costs: each change has a reason, and a place in the history of changes. */
export function CataloguePage() {
  return (
    <Stack gap="md">
      <PageName name="Catalogue" />
      <Plans />
      <Packs />
      <Codes />
      <Rates />
      <ActionCosts />
      <Prices />
    </Stack>
  );
}
