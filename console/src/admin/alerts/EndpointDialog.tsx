import { MultiSelect, Switch, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { WebhookEndpoint } from "tokenbook";
import { eventKinds } from "tokenbook/admin";
import { ActDialog } from "../ActDialog.tsx";
import { NewName, useNewName } from "../NewName.tsx";
import { useAdmin, useChanged } from "../queries.ts";

const all = Object.keys(eventKinds).toSorted();

/** Makes an endpoint, or sets one anew. An address may be a secret: it is not shown again. */
export function EndpointDialog({ endpoint, close }: { endpoint: WebhookEndpoint | null; close: () => void }) {
  const admin = useAdmin();
  const changed = useChanged();
  const naming = useNewName("endpoint", async (called) =>
    (await admin.endpoints()).some((it) => it.name === called),
  );
  const name = endpoint?.name ?? naming.name.trim();
  const [url, setUrl] = useState("");
  const [kinds, setKinds] = useState(endpoint?.kinds ?? []);
  const [isEnabled, enable] = useState(endpoint?.is_enabled ?? true);
  const address = url.trim() === "" ? endpoint?.url : url.trim();
  return (
    <ActDialog
      title={endpoint === null ? "New endpoint" : `Change the endpoint ${endpoint.name}`}
      verb={endpoint === null ? "Make" : "Change"}
      isReady={name !== "" && address !== undefined}
      close={close}
      {...(endpoint === null && { check: naming.check })}
      act={async () => {
        const { secret_setting } = await admin.setEndpoint(name, address!, {
          kinds: kinds.length === 0 ? undefined : kinds,
          isEnabled,
        });
        changed();
        return (
          <Text size="sm" className="words">
            It is told of what happens from now on, signed with the secret in {secret_setting}: a setting of
            the edge functions, which is made there.
          </Text>
        );
      }}
    >
      {endpoint === null && <NewName naming={naming} label="Name" description="Letters, digits and _ ." />}
      <TextInput
        label="Address"
        description={endpoint === null ? "https" : "Empty: it stays. It may be a secret, so it is not shown."}
        type="url"
        autoComplete="off"
        data-autofocus={endpoint !== null || undefined}
        value={url}
        onChange={({ currentTarget }) => setUrl(currentTarget.value)}
      />
      <MultiSelect
        label="Is told of"
        description="None chosen: everything, also what is added later."
        data={all}
        value={kinds}
        searchable
        clearable
        clearButtonProps={{ "aria-label": "Choose none" }}
        comboboxProps={{ withinPortal: false }}
        maxDropdownHeight={180}
        onChange={setKinds}
      />
      <Switch
        label="Is told at all"
        checked={isEnabled}
        onChange={({ currentTarget }) => enable(currentTarget.checked)}
      />
    </ActDialog>
  );
}
