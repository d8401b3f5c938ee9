// GET /: the page, one file, whose script and style run by a number that each answer draws anew. Nothing is loaded from elsewhere.
#include <array>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>

#include "page_text.hpp"
#include "service.hpp"

namespace qjl::server {
namespace {

std::string random_nonce() {
  std::random_device device;
  std::array<char, 33> digits{};
  std::snprintf(digits.data(), digits.size(), "%08x%08x%08x%08x", device(), device(), device(), device());
  return digits.data();
}

std::string with_nonce(std::string page, const std::string& nonce) {
  constexpr std::string_view kMark = "@NONCE@";
  for (auto place = page.find(kMark); place != std::string::npos; place = page.find(kMark, place)) {
    page.replace(place, kMark.size(), nonce);
  }
  return page;
}

}  // namespace

void get_page(Service&, const Call& call) {
  const std::string nonce = random_nonce();
  Headers headers = answer_headers(call, {});
  headers.emplace_back("Content-Security-Policy",
                       "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                           "'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  headers.emplace_back("Referrer-Policy", "no-referrer");
  headers.emplace_back("Cache-Control", "no-store");
  call.reply->send({.type = "text/html; charset=utf-8", .body = with_nonce(kPageText, nonce), .headers = std::move(headers)});
}

}  // namespace qjl::server
