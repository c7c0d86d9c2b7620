import js from "@eslint/js";
import globals from "globals";

const rules = {
  "array-callback-return": "error",
  curly: "error",
  eqeqeq: ["error", "always", { null: "ignore" }],
  "max-lines": ["error", { max: 300, skipBlankLines: true, skipComments: true }],
  "max-lines-per-function": ["error", { max: 40, skipBlankLines: true, skipComments: true }],
  "no-console": ["error", { allow: ["warn"] }],
  "no-implicit-coercion": "error",
  "no-unused-private-class-members": "error",
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
};

const languageOptions = { ecmaVersion: 2022, sourceType: "module" };

export default [
  { ignores: ["**/vendor/", "**/node_modules/", "**/*.min.js"] },
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["**/static/django_sse/**/*.js"],
    languageOptions: { ...languageOptions, globals: globals.browser },
    rules,
  },
  {
    files: ["**/tests/javascript/*.js"],
    languageOptions: {
      ...languageOptions,
      globals: { ...globals.nodeBuiltin, document: "readonly" },
    },
    rules: { ...rules, "no-console": "off", "max-lines": "off", "max-lines-per-function": "off" },
  },
];
