import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "./page.css";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { TokenbookProvider } from "tokenbook/react";
import { readConfig } from "./config.ts";
import { Fresh } from "./data/Fresh.tsx";
import { Nothing } from "./parts/Nothing.tsx";
import { router } from "./router.tsx";
import { SessionProvider } from "./session.tsx";
import { connect } from "./supabase.ts";
import { theme, variables } from "./theme.ts";

const root = createRoot(document.getElementById("root")!);
try {
  const connection = connect(await readConfig());
  const { supabase } = connection;
  // What is shown is right until something says otherwise: Realtime, an own call, the focus. A browser that thinks itself
  // offline may be wrong, and what waits for it says nothing: asked all the same, it is an error that is told.
  const queryClient = new QueryClient({
    defaultOptions: { queries: { staleTime: 30_000, retry: false, networkMode: "always" } },
  });
  root.render(
    <StrictMode>
      <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto">
        <QueryClientProvider client={queryClient}>
          <SessionProvider connection={connection}>
            <TokenbookProvider supabase={supabase}>
              <Fresh />
              <Notifications />
              <RouterProvider router={router} />
            </TokenbookProvider>
          </SessionProvider>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
} catch (error) {
  root.render(
    <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto">
      <main>
        <Nothing title="The console does not know its project">{(error as Error).message}</Nothing>
      </main>
    </MantineProvider>,
  );
}
