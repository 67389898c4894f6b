import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const sources = new URL("../packages/tokenbook/src/", import.meta.url);

export default defineConfig(({ command }) => {
  // React goes by it, and tests have another
  if (command === "build") process.env["NODE_ENV"] = "production";
  return {
    root: fileURLToPath(new URL(".", import.meta.url)),
    plugins: [react()],
    resolve: {
      alias: [
        { find: /^tokenbook\/admin$/, replacement: fileURLToPath(new URL("admin/index.ts", sources)) },
        { find: /^tokenbook\/react$/, replacement: fileURLToPath(new URL("react/index.ts", sources)) },
        { find: /^tokenbook$/, replacement: fileURLToPath(new URL("client/index.ts", sources)) },
      ],
    },
    build: {
      target: "es2022",
      // what the test of the bundle goes by
      manifest: true,
      chunkSizeWarningLimit: 800,
    },
  };
});
