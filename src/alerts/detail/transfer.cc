#include "alerts/detail/transfer.h"

#include "base/error.h"
#include "base/process.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include <curl/curl.h>

namespace holdfast::alerts {
namespace {

constexpr long kConnectTimeoutMs = 10'000;
constexpr long kTimeoutMs = 30'000;
constexpr std::size_t kAnswerMax = 512;

struct ListDeleter {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

List make_list(std::span<const std::string> texts) {
    List list;
    for (const std::string& text : texts) {
        curl_slist* longer = curl_slist_append(list.get(), text.c_str());
        HOLDFAST_CHECK(longer != nullptr);
        (void)list.release();
        list.reset(longer);
    }
    return list;
}

std::size_t keep_answer(char* data, std::size_t, std::size_t size, void* to) {
    auto& answer = *static_cast<std::string*>(to);
    answer.append(data, std::min(size, kAnswerMax - std::min(kAnswerMax, answer.size())));
    return size;  // The rest is read and forgotten.
}

std::size_t give_message(char* out, std::size_t, std::size_t room, void* from) {
    auto& rest = *static_cast<std::string_view*>(from);
    const std::size_t size = std::min(room, rest.size());
    std::memcpy(out, rest.data(), size);
    rest.remove_prefix(size);
    return size;
}

int stop_if_asked(void* token, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<std::stop_token*>(token)->stop_requested() ? 1 : 0;
}

}  // namespace

struct Transfer::Handle {
    CURL* curl = nullptr;
    std::array<char, CURL_ERROR_SIZE> fault{};
    std::string answer;

    /// An option that this libcurl does not know would be a build without what we need.
    template <typename Value>
    void set(CURLoption option, Value value) {
        HOLDFAST_CHECK(curl_easy_setopt(curl, option, value) == CURLE_OK);
    }
};

Transfer::Transfer() : handle_{std::make_unique<Handle>()} {
    static std::once_flag once;
    std::call_once(once, [] { HOLDFAST_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
    ignore_broken_pipes();  // With CURLOPT_NOSIGNAL that is left to us, and OpenSSL writes.
    Handle& handle = *handle_;
    handle.curl = curl_easy_init();
    HOLDFAST_CHECK(handle.curl != nullptr);
    handle.set(CURLOPT_NOSIGNAL, 1L);
    handle.set(CURLOPT_ERRORBUFFER, handle.fault.data());
    handle.set(CURLOPT_PROTOCOLS_STR, "https,http,smtp,smtps");
    handle.set(CURLOPT_FOLLOWLOCATION, 0L);
    handle.set(CURLOPT_PROXY, "");  // The environment's would send it to somebody else.
    handle.set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    handle.set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    handle.set(CURLOPT_SSL_VERIFYPEER, 1L);
    handle.set(CURLOPT_SSL_VERIFYHOST, 2L);
    handle.set(CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    handle.set(CURLOPT_TIMEOUT_MS, kTimeoutMs);
    handle.set(CURLOPT_USERAGENT, "holdfast");
    handle.set(CURLOPT_WRITEFUNCTION, &keep_answer);
    handle.set(CURLOPT_WRITEDATA, &handle.answer);
}

Transfer::~Transfer() {
    curl_easy_cleanup(handle_->curl);
}

void Transfer::trust(const std::filesystem::path& ca_file) {
    if (!ca_file.empty()) {
        handle_->set(CURLOPT_CAINFO, ca_file.c_str());
        handle_->set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
    }
}

void Transfer::login(const std::string& user, std::string_view password) {
    handle_->set(CURLOPT_USERNAME, user.c_str());
    std::string copy{password};  // libcurl wants a terminator, and copies.
    handle_->set(CURLOPT_PASSWORD, copy.c_str());
    std::fill(copy.begin(), copy.end(), '\0');
}

Transfer::Result Transfer::post(
    const std::string& url,
    const std::string& body,
    std::span<const std::string> headers,
    std::stop_token stop
) {
    const List list = make_list(headers);
    handle_->set(CURLOPT_URL, url.c_str());
    handle_->set(CURLOPT_POSTFIELDS, body.c_str());
    handle_->set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    handle_->set(CURLOPT_HTTPHEADER, list.get());
    return run(std::move(stop));
}

Transfer::Result Transfer::mail(const Mail& mail, std::stop_token stop) {
    const List to = make_list(mail.to);
    std::string_view rest = mail.message;
    handle_->set(CURLOPT_URL, mail.url.c_str());
    handle_->set(
        CURLOPT_USE_SSL, static_cast<long>(mail.start_tls ? CURLUSESSL_ALL : CURLUSESSL_NONE)
    );
    handle_->set(CURLOPT_MAIL_FROM, mail.from.c_str());
    handle_->set(CURLOPT_MAIL_RCPT, to.get());
    handle_->set(CURLOPT_UPLOAD, 1L);
    handle_->set(CURLOPT_READFUNCTION, &give_message);
    handle_->set(CURLOPT_READDATA, &rest);
    return run(std::move(stop));
}

Transfer::Result Transfer::run(std::stop_token stop) {
    handle_->set(CURLOPT_NOPROGRESS, 0L);
    handle_->set(CURLOPT_XFERINFOFUNCTION, &stop_if_asked);
    handle_->set(CURLOPT_XFERINFODATA, &stop);
    Result result;
    const CURLcode code = curl_easy_perform(handle_->curl);
    result.transferred = code == CURLE_OK;
    curl_easy_getinfo(handle_->curl, CURLINFO_RESPONSE_CODE, &result.status);
    if (!result.transferred) {
        const char* text = handle_->fault.data();
        result.fault = *text != '\0' ? text : curl_easy_strerror(code);
    }
    result.answer = std::move(handle_->answer);
    return result;
}

}  // namespace holdfast::alerts
