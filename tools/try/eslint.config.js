import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/node_modules/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: { ecmaVersion: 2022, sourceType: "module" },
    rules: {
      eqeqeq: "error",
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
      "object-shorthand": "error",
      "no-restricted-imports": ["error", { patterns: ["http:*", "https:*"] }],
    },
  },
  { files: ["nbs/try/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["nbs/try/worker.js"], languageOptions: { globals: globals.worker } },
  { files: ["tools/try/**/*.js"], languageOptions: { globals: globals.node } },
];
