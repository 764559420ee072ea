#pragma once

#include "base/clock.h"

namespace holdfast::catalog {
class Catalog;
class SecretStore;
}  // namespace holdfast::catalog

namespace holdfast::alerts {
class Courier;
class Outbox;
}  // namespace holdfast::alerts

namespace holdfast::jobs {
class CredentialResolver;
class DataPlane;
class Engine;
class ProtectionService;
class RepositoryPool;
class RestoreContainers;
}  // namespace holdfast::jobs

namespace holdfast::control {

class Audit;
class Authorizer;
class Identity;
class Operations;
struct Config;

/// The object graph as handlers see it: built once in server.cc, alive while requests run. Every
/// member may be used from any thread. Include the header of what you use; this one only names the
/// types.
struct Services {
    const Config& config;
    Clock& clock;
    catalog::Catalog& catalog;
    catalog::SecretStore& secrets;
    jobs::Engine& jobs;
    jobs::ProtectionService& protection;
    jobs::RepositoryPool& repositories;
    const jobs::CredentialResolver& credentials;
    const jobs::RestoreContainers& containers;
    jobs::DataPlane& data_plane;
    Authorizer& authorizer;
    Operations& operations;
    Audit& audit;
    Identity& identity;
    const alerts::Outbox& alerts;
    alerts::Courier& courier;
};

}  // namespace holdfast::control
